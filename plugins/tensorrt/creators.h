// One creator per variant name, because TensorRT's parser looks a node up by its op type.
#pragma once

#include <vector>

#include <NvInferRuntime.h>

#include "variants.h"

namespace se {

//: As in se_deploy/op.py: the node's attributes plugin_namespace and plugin_version.
constexpr const char* kNamespace = "se_deploy";
constexpr const char* kVersion = "1";

//: Makes the plugins of one variant.
class Creator final : public nvinfer1::IPluginCreatorV3One {
public:
    explicit Creator(const Variant& variant);

    nvinfer1::IPluginV3* createPlugin(const char* name, const nvinfer1::PluginFieldCollection* given,
                                      nvinfer1::TensorRTPhase phase) noexcept override;
    const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override;
    const char* getPluginName() const noexcept override;
    const char* getPluginVersion() const noexcept override;
    const char* getPluginNamespace() const noexcept override;

private:
    const Variant& mVariant;
    std::vector<nvinfer1::PluginField> mFields;
    nvinfer1::PluginFieldCollection mCollection{};
};

//: All creators, in the order of variants().
const std::vector<nvinfer1::IPluginCreatorInterface*>& creators();

}  // namespace se
