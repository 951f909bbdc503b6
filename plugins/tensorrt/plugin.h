// The node in TensorRT: one IPluginV3 for every variant, type and format that the kernels have.
#pragma once

#include <string>
#include <vector>

#include <NvInferRuntime.h>

#include "variants.h"

namespace se {

//: Inputs and output as in se_deploy/op.py: x, w1, b1, w2, b2, slope, residual (those that the variant has); y.
class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
public:
    Plugin(const Variant& variant, const Op& op);

    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;
    nvinfer1::IPluginV3* clone() noexcept override;

    const char* getPluginName() const noexcept override;
    const char* getPluginVersion() const noexcept override;
    const char* getPluginNamespace() const noexcept override;

    int32_t getNbOutputs() const noexcept override;
    int32_t getOutputDataTypes(nvinfer1::DataType* outputs, int32_t outputCount, const nvinfer1::DataType* inputs,
                               int32_t inputCount) const noexcept override;
    int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t inputCount, const nvinfer1::DimsExprs* shapeInputs,
                            int32_t shapeInputCount, nvinfer1::DimsExprs* outputs, int32_t outputCount,
                            nvinfer1::IExprBuilder& builder) noexcept override;
    bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* all, int32_t inputCount,
                                   int32_t outputCount) noexcept override;
    int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, int32_t inputCount,
                            const nvinfer1::DynamicPluginTensorDesc* outputs, int32_t outputCount) noexcept override;
    size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* inputs, int32_t inputCount,
                            const nvinfer1::DynamicPluginTensorDesc* outputs, int32_t outputCount) const noexcept override;
    const char* getTimingCacheID() noexcept override;
    const char* getMetadataString() noexcept override;

    int32_t onShapeChange(const nvinfer1::PluginTensorDesc* inputs, int32_t inputCount, const nvinfer1::PluginTensorDesc* outputs,
                          int32_t outputCount) noexcept override;
    int32_t enqueue(const nvinfer1::PluginTensorDesc* inputs, const nvinfer1::PluginTensorDesc* outputs, const void* const* from,
                    void* const* to, void* workspace, cudaStream_t stream) noexcept override;
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
    const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

private:
    //: Says a message with the variant's name; returns TensorRT's word for failure.
    int32_t refuse(const std::string& message) const;
    std::string wrongShape(const nvinfer1::PluginTensorDesc* const* inputs) const;

    const Variant& mVariant;
    Op mOp;
    Device mDevice{};
    std::string mTimingId;
    std::vector<nvinfer1::PluginField> mFields;
    nvinfer1::PluginFieldCollection mCollection{};
};

}  // namespace se
