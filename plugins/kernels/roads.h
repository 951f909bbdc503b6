// What `launch` hands to a road, and the roads.
#pragma once

#include "choose.h"

namespace se {

//: A checked call. `op`'s scales are 1 where its type is not int8; `columns` are w2's.
struct Call {
    Op op;
    Shape shape;
    Geometry geometry;
    Tensors tensors;
    Device device;
    Plan plan;
    int32_t columns;
    unsigned char* workspace;
    cudaStream_t stream;
};

//: Bytes of workspace, rounded so that what lies behind is aligned.
inline int64_t aligned(int64_t bytes) { return divideUp(bytes, 256) * 256; }

// The roads.
cudaError_t launchSplit(const Call& call);
cudaError_t launchCluster(const Call& call);
cudaError_t launchPersistent(const Call& call);

//: `launch` on a road that the caller chose (the tests do).
cudaError_t launchPlan(const Op& op, const Shape& shape, const Tensors& tensors, void* workspace, std::size_t workspaceSize,
                       const Device& device, const Plan& plan, cudaStream_t stream);

//: Calls `use(T{}, tiles)` with the op's type and a std::bool_constant.
template <typename T, typename Use>
cudaError_t withLayout(Layout layout, Use use) {
    return layout == Layout::kLinear ? use(T{}, std::false_type{}) : use(T{}, std::true_type{});
}

template <typename Use>
cudaError_t withType(const Op& op, Use use) {
    switch (op.type) {
        case Type::kFloat: return withLayout<float>(op.layout, use);
        case Type::kHalf: return withLayout<__half>(op.layout, use);
        case Type::kBFloat16: return withLayout<__nv_bfloat16>(op.layout, use);
        case Type::kInt8: return withLayout<int8_t>(op.layout, use);
    }
    return cudaErrorInvalidValue;
}

}  // namespace se
