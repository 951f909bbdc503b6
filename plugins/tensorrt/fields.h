// A plugin's fields: read from a node's attributes when an engine is built, and from the engine when it is loaded.
#pragma once

#include <string>
#include <vector>

#include <NvInferRuntime.h>

#include "variants.h"

namespace se {

//: What an engine holds beside the variant's own fields; a reader refuses another.
constexpr const char* kFormatField = "format";
constexpr int32_t kFormat = 1;

//: Sets the op's numbers. Returns what is wrong, or an empty string.
std::string readFields(const Variant& variant, const nvinfer1::PluginFieldCollection* given, nvinfer1::TensorRTPhase phase, Op& op);

//: The fields that an engine keeps; they point into the op, which must outlive them.
std::vector<nvinfer1::PluginField> fieldsToSerialize(const Variant& variant, Op& op);

}  // namespace se
