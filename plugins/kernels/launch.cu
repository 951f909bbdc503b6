// The door: checks what the caller says, chooses a road, takes it.
#include <cstdint>

#include "roads.h"

namespace se {
namespace {

bool positive(float scale) { return scale > 0.0F && scale <= 3.4e38F; }

bool aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

bool possible(const Op& op, const Shape& s) {
    constexpr int64_t kMost = (int64_t{1} << 31) - 64;
    const bool scales = positive(op.xScale) && positive(op.yScale) && (op.skip != Skip::kAdd || positive(op.residualScale));
    return supports(op.type, op.layout) && (op.type != Type::kInt8 || scales) && s.n >= 0 && s.c >= 1 && s.c <= kMost && s.hw >= 1 &&
           s.hw <= kMost && (op.act == Act::kNone || (s.r >= 1 && s.r <= kMost));
}

bool given(const Op& op, const Tensors& t) {
    const bool first = op.act == Act::kNone || (t.w1 != nullptr && t.b1 != nullptr);
    const bool slope = op.act != Act::kPRelu || t.slope != nullptr;
    const bool residual = op.skip != Skip::kAdd || (t.residual != nullptr && aligned16(t.residual));
    return first && slope && residual && t.w2 != nullptr && t.b2 != nullptr && t.x != nullptr && aligned16(t.x) && t.y != nullptr &&
           aligned16(t.y);
}

//: A launch says so when its blocks cannot be resident together: part of a device (MIG, MPS, a green context) may have less room.
bool noRoom(cudaError_t status) {
    return status == cudaErrorCooperativeLaunchTooLarge || status == cudaErrorInvalidClusterSize || status == cudaErrorLaunchOutOfResources;
}

}  // namespace

bool supports(Type type, Layout layout) {
    switch (layout) {
        case Layout::kLinear: return true;
        case Layout::kHWC8: return type != Type::kInt8;
        case Layout::kHWC16:
        case Layout::kCHW32: return type == Type::kInt8;
    }
    return false;
}

std::size_t workspaceBytes(const Op& op, const Shape& shape, const Device& device) {
    if (!possible(op, shape) || shape.n == 0) return 0;
    const int64_t sum = op.type == Type::kInt8 ? 8 : 4;
    const int64_t split = aligned(mostSums(op, shape, device) * sum) + aligned(shape.n * columnsOf(op, shape) * 4);
    const int64_t persistent = aligned(int64_t{device.multiprocessors} * 4) + aligned(mostBoard(op, shape, device) * 4);
    return static_cast<std::size_t>(std::max(split, persistent));
}

cudaError_t launchPlan(const Op& op, const Shape& shape, const Tensors& tensors, void* workspace, std::size_t workspaceSize,
                       const Device& device, const Plan& plan, cudaStream_t stream) {
    if (!possible(op, shape)) return cudaErrorInvalidValue;
    if (shape.n == 0) return cudaSuccess;
    if (!given(op, tensors) || workspace == nullptr || workspaceSize < workspaceBytes(op, shape, device)) return cudaErrorInvalidValue;
    const auto columns = static_cast<int32_t>(columnsOf(op, shape));
    Call call{op,   shape,   geometryOf(op.layout, shape),           tensors, device,
              plan, columns, static_cast<unsigned char*>(workspace), stream};
    if (op.type != Type::kInt8) call.op.xScale = call.op.residualScale = call.op.yScale = 1.0F;
    if (op.skip != Skip::kAdd) call.tensors.residual = nullptr;
    if (plan.road == Road::kSplit) return launchSplit(call);
    const cudaError_t status = plan.road == Road::kCluster ? launchCluster(call) : launchPersistent(call);
    if (!noRoom(status)) return status;
    (void)cudaGetLastError();  // it is answered here
    call.plan = splitPlan(op, shape, device);
    return launchSplit(call);
}

cudaError_t launch(const Op& op, const Shape& shape, const Tensors& tensors, void* workspace, std::size_t workspaceSize,
                   const Device& device, cudaStream_t stream) {
    if (!possible(op, shape)) return cudaErrorInvalidValue;
    if (shape.n == 0) return cudaSuccess;
    return launchPlan(op, shape, tensors, workspace, workspaceSize, device, choose(op, shape, device), stream);
}

}  // namespace se
