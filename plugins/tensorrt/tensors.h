// TensorRT's words for tensors in those of the kernels.
#pragma once

#include <cstddef>
#include <string>

#include <NvInferRuntime.h>

#include "variants.h"

namespace se {

//: False where the kernels have no such type or layout.
bool typeOf(nvinfer1::DataType from, Type& to);
bool layoutOf(nvinfer1::TensorFormat from, Layout& to);

//: n, c, r and hw of a node; x is (N, C, *spatial), w1 is (R, C) or null where there is one FC.
Shape shapeOf(const nvinfer1::Dims& x, const nvinfer1::Dims* w1);

//: "(8, 64, 56, 56)"
std::string text(const nvinfer1::Dims& dims);

bool equal(const nvinfer1::Dims& a, const nvinfer1::Dims& b);

//: Scratch that is enough on any device, whichever is here.
std::size_t scratchBytes(const Op& op, const Shape& shape);

}  // namespace se
