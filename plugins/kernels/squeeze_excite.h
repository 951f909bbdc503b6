// The one door of the kernels: what a caller (the TensorRT plugin, a test, a benchmark) says and gets. Nothing of TensorRT, no device code.
//
//   y = epilogue(x * gate(W2 act(W1 mean_hw(x) + b1) + b2)  [+ residual | + x])
//
// The contract of every word here is se_deploy/op.py; FP32 inside, one rounding at the end.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime_api.h>

namespace se {

enum class Type : int32_t { kFloat, kHalf, kBFloat16, kInt8 };

//: kHWC8 and kHWC16 pad the channels to a multiple of 8 or 16: (N, H, W, C/v, v). kCHW32 is (N, C/32, H, W, 32).
enum class Layout : int32_t { kLinear, kHWC8, kHWC16, kCHW32 };

// The order of op.py's ACTS, GATES, SKIPS and EPILOGUES.
enum class Act : int32_t { kNone, kRelu, kRelu6, kSilu, kHardSwish, kGelu, kGeluTanh, kLeaky, kPRelu };
enum class Gate : int32_t { kSigmoid, kHardSigmoid, kTanh };
enum class Skip : int32_t { kNone, kAdd, kSelf };
enum class Epilogue : int32_t { kNone, kRelu, kSilu, kHardSwish };

//: Which SqueezeExcite. `act` kNone is the one-FC gate: no w1, no b1, w2 is (C, C). The scales are read for kInt8 only.
struct Op {
    Type type = Type::kFloat;
    Layout layout = Layout::kLinear;
    Act act = Act::kRelu;
    Gate gate = Gate::kSigmoid;
    Skip skip = Skip::kNone;
    Epilogue epilogue = Epilogue::kNone;
    float alpha = 0.2F;  // hardsigmoid clip(alpha v + beta, 0, 1); tanh: alpha tanh(v) + beta
    float beta = 0.5F;
    float leak = 0.01F;
    float xScale = 1.0F;
    float residualScale = 1.0F;
    float yScale = 1.0F;
};

//: n images, c channels, r hidden channels (0 for the one-FC gate), hw positions (H*W, or D*H*W, or L).
struct Shape {
    int64_t n = 0;
    int64_t c = 0;
    int64_t r = 0;
    int64_t hw = 0;
};

//: Device pointers. x, residual (kAdd) and y in the op's type and layout, the weights in FP32, row-major: w1 (R, C), w2 (C, R).
struct Tensors {
    const void* x = nullptr;
    const void* residual = nullptr;
    const float* w1 = nullptr;
    const float* b1 = nullptr;
    const float* w2 = nullptr;
    const float* b2 = nullptr;
    const float* slope = nullptr;
    void* y = nullptr;
};

//: What the choice of kernel depends on.
struct Device {
    int32_t sm = 0;  // 89 for sm_89
    int32_t multiprocessors = 0;
    int64_t sharedPerBlock = 0;  // bytes a block may opt in to
    int64_t sharedPerMultiprocessor = 0;
    int64_t l2Bytes = 0;
};

//: The current device's limits; read once and kept by the caller.
cudaError_t currentDevice(Device& device);

//: Whether there are kernels for this type in this layout.
bool supports(Type type, Layout layout);

//: Bytes of scratch that `launch` needs for this op and shape on this device; monotone in shape.n.
std::size_t workspaceBytes(const Op& op, const Shape& shape, const Device& device);

//: Enqueues the node on `stream`. cudaErrorInvalidValue for what cannot be (a null pointer, an unsupported layout, a workspace too small);
//: otherwise what the launches returned. Allocates nothing, waits for nothing, throws nothing.
cudaError_t launch(const Op& op, const Shape& shape, const Tensors& tensors, void* workspace, std::size_t workspaceSize,
                   const Device& device, cudaStream_t stream);

}  // namespace se
