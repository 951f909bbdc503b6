// What TensorRT asks while an engine runs: nothing here allocates or waits.
#include "hosts.h"
#include "plugin.h"
#include "tensors.h"

namespace se {

using nvinfer1::PluginTensorDesc;

int32_t Plugin::onShapeChange(const PluginTensorDesc* inputs, int32_t inputCount, const PluginTensorDesc*, int32_t) noexcept {
    return guarded(-1, [&] {
        return inputCount == mVariant.inputCount() && inputs[0].dims.nbDims >= 3 ? 0 : refuse("other inputs than at build time");
    });
}

nvinfer1::IPluginV3* Plugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
    auto attached = static_cast<Plugin*>(clone());
    if (attached != nullptr && currentDevice(attached->mDevice) != cudaSuccess) {
        guarded(-1, [&] { return refuse("no CUDA device"); });
        delete attached;
        return nullptr;
    }
    return attached;
}

int32_t Plugin::enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc*, const void* const* from, void* const* to,
                        void* workspace, cudaStream_t stream) noexcept {
    return guarded(-1, [&] {
        Op op = mOp;
        if (!typeOf(inputs[0].type, op.type) || !layoutOf(inputs[0].format, op.layout)) {
            return refuse("no kernels for this type and format");
        }
        auto const weight = [from](int32_t position) { return position < 0 ? nullptr : static_cast<const float*>(from[position]); };
        Shape const shape = shapeOf(inputs[0].dims, mVariant.w1() < 0 ? nullptr : &inputs[mVariant.w1()].dims);
        if (shape.n * shape.c * shape.hw == 0) {
            return 0;
        }
        Tensors tensors;
        tensors.x = from[0];
        tensors.residual = mVariant.residual() < 0 ? nullptr : from[mVariant.residual()];
        tensors.w1 = weight(mVariant.w1());
        tensors.b1 = mVariant.w1() < 0 ? nullptr : weight(mVariant.w1() + 1);
        tensors.w2 = weight(mVariant.w2());
        tensors.b2 = weight(mVariant.w2() + 1);
        tensors.slope = weight(mVariant.slope());
        tensors.y = to[0];
        cudaError_t const status = launch(op, shape, tensors, workspace, workspaceBytes(op, shape, mDevice), mDevice, stream);
        return status == cudaSuccess ? 0 : refuse(std::string("the kernels did not start: ") + cudaGetErrorString(status));
    });
}

}  // namespace se
