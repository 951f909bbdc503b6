#include "plugin.h"

#include <cstdio>

#include "creators.h"
#include "fields.h"
#include "hosts.h"

namespace se {
namespace {

//: Names a kind of work for TensorRT's timing cache: the same numbers in the same variant of the same version take the same time.
std::string timingId(const Variant& variant, Op op) {
    std::string id = variant.name + "/" + kVersion;
    for (const char* field : variant.fields) {
        char value[64];
        std::snprintf(value, sizeof value, "/%s=%a", field, static_cast<double>(*fieldOf(op, field)));
        id += value;
    }
    return id;
}

}  // namespace

Plugin::Plugin(const Variant& variant, const Op& op)
    : mVariant(variant), mOp(op), mTimingId(timingId(variant, op)), mFields(fieldsToSerialize(variant, mOp)) {
    mCollection.nbFields = static_cast<int32_t>(mFields.size());
    mCollection.fields = mFields.data();
}

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept {
    switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

nvinfer1::IPluginV3* Plugin::clone() noexcept {
    return guarded(static_cast<nvinfer1::IPluginV3*>(nullptr), [&]() -> nvinfer1::IPluginV3* {
        auto copy = new Plugin(mVariant, mOp);
        copy->mDevice = mDevice;
        return copy;
    });
}

const char* Plugin::getPluginName() const noexcept { return mVariant.name.c_str(); }

const char* Plugin::getPluginVersion() const noexcept { return kVersion; }

const char* Plugin::getPluginNamespace() const noexcept { return kNamespace; }

const char* Plugin::getTimingCacheID() noexcept { return mTimingId.c_str(); }

const char* Plugin::getMetadataString() noexcept { return mTimingId.c_str(); }

const nvinfer1::PluginFieldCollection* Plugin::getFieldsToSerialize() noexcept { return &mCollection; }

int32_t Plugin::refuse(const std::string& message) const {
    say(Severity::kError, ("se_deploy: " + mVariant.name + ": " + message).c_str());
    return -1;
}

}  // namespace se
