#include "creators.h"

#include <memory>

#include "fields.h"
#include "hosts.h"
#include "plugin.h"

namespace se {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

Creator::Creator(const Variant& variant) : mVariant(variant) {
    for (const char* field : variant.fields) {
        mFields.emplace_back(field, nullptr, PluginFieldType::kFLOAT32, 1);
    }
    mCollection.nbFields = static_cast<int32_t>(mFields.size());
    mCollection.fields = mFields.data();
}

nvinfer1::IPluginV3* Creator::createPlugin(const char* name, const nvinfer1::PluginFieldCollection* given,
                                           nvinfer1::TensorRTPhase phase) noexcept {
    return guarded(static_cast<nvinfer1::IPluginV3*>(nullptr), [&]() -> nvinfer1::IPluginV3* {
        Op op = mVariant.op;
        std::string const wrong = readFields(mVariant, given, phase, op);
        if (wrong.empty()) {
            return new Plugin(mVariant, op);
        }
        std::string const node = name == nullptr ? "?" : name;
        say(Severity::kError, ("se_deploy: " + node + " (" + mVariant.name + "): " + wrong).c_str());
        return nullptr;
    });
}

const nvinfer1::PluginFieldCollection* Creator::getFieldNames() noexcept { return &mCollection; }

const char* Creator::getPluginName() const noexcept { return mVariant.name.c_str(); }

const char* Creator::getPluginVersion() const noexcept { return kVersion; }

const char* Creator::getPluginNamespace() const noexcept { return kNamespace; }

const std::vector<nvinfer1::IPluginCreatorInterface*>& creators() {
    static const std::vector<std::unique_ptr<Creator>> owned = [] {
        std::vector<std::unique_ptr<Creator>> made;
        for (const Variant& variant : variants()) {
            made.push_back(std::make_unique<Creator>(variant));
        }
        return made;
    }();
    static const std::vector<nvinfer1::IPluginCreatorInterface*> all = [] {
        std::vector<nvinfer1::IPluginCreatorInterface*> pointers;
        for (const std::unique_ptr<Creator>& creator : owned) {
            pointers.push_back(creator.get());
        }
        return pointers;
    }();
    return all;
}

}  // namespace se
