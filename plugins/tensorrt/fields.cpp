#include "fields.h"

#include <cmath>
#include <cstring>

namespace se {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;

const PluginField* find(const PluginFieldCollection& given, const char* name) {
    for (int32_t i = 0; i < given.nbFields; ++i) {
        if (given.fields[i].name != nullptr && std::strcmp(given.fields[i].name, name) == 0) {
            return &given.fields[i];
        }
    }
    return nullptr;
}

std::string wrongFormat(const PluginFieldCollection& given) {
    const PluginField* const field = find(given, kFormatField);
    if (field == nullptr || field->type != PluginFieldType::kINT32 || field->length != 1 || field->data == nullptr) {
        return "the engine's fields have no format; build the engine again";
    }
    int32_t const format = *static_cast<const int32_t*>(field->data);
    return format == kFormat ? "" : "the engine's fields are of format " + std::to_string(format) + ", this plugin reads " + std::to_string(kFormat);
}

std::string readFloat(const PluginFieldCollection& given, const char* name, float& value) {
    const PluginField* const field = find(given, name);
    if (field == nullptr) {
        return std::string("the attribute ") + name + " is missing";
    }
    if (field->type != PluginFieldType::kFLOAT32 || field->length != 1 || field->data == nullptr) {
        return std::string("the attribute ") + name + " is not one float";
    }
    value = *static_cast<const float*>(field->data);
    if (!std::isfinite(value)) {
        return std::string("the attribute ") + name + " is not finite";
    }
    bool const scale = std::strstr(name, "_scale") != nullptr;
    return scale && value <= 0.0F ? std::string("the attribute ") + name + " is not above 0" : "";
}

}  // namespace

std::string readFields(const Variant& variant, const PluginFieldCollection* given, nvinfer1::TensorRTPhase phase, Op& op) {
    PluginFieldCollection const none{};
    const PluginFieldCollection& fields = given == nullptr ? none : *given;
    if (phase == nvinfer1::TensorRTPhase::kRUNTIME) {
        if (std::string wrong = wrongFormat(fields); !wrong.empty()) {
            return wrong;
        }
    }
    for (const char* name : variant.fields) {
        if (std::string wrong = readFloat(fields, name, *fieldOf(op, name)); !wrong.empty()) {
            return wrong;
        }
    }
    return "";
}

std::vector<PluginField> fieldsToSerialize(const Variant& variant, Op& op) {
    std::vector<PluginField> fields{{kFormatField, &kFormat, PluginFieldType::kINT32, 1}};
    for (const char* name : variant.fields) {
        fields.emplace_back(name, fieldOf(op, name), PluginFieldType::kFLOAT32, 1);
    }
    return fields;
}

}  // namespace se
