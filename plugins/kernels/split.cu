// Road (a): pool, excite, scale.
#include "excite.cuh"
#include "pool.cuh"
#include "roads.h"
#include "scale.cuh"

namespace se {
namespace {

template <typename T, bool kTiles>
cudaError_t pass(const Call& call) {
    using Sum = typename Kind<T>::Sum;
    const Tensors& t = call.tensors;
    const Jobs& jobs = call.plan.pool;
    const auto room = static_cast<int32_t>(splitBlocks(call.device));
    auto* sums = reinterpret_cast<Sum*>(call.workspace);
    auto* hidden = reinterpret_cast<float*>(call.workspace + aligned(mostSums(call.op, call.shape, call.device) * int64_t{sizeof(Sum)}));

    Launch how;
    how.threads = kSplitThreads;
    how.blocks = std::min(jobs.total, room);
    how.shared = squeezeScratch<T>(kSplitThreads);
    cudaError_t status = submit(pool<T, kTiles>, how, call.stream, call.geometry, jobs, static_cast<const T*>(t.x), sums);
    if (status != cudaSuccess) return status;

    how.blocks = std::min<int64_t>(divideUp(call.columns, kRowsPerJob) * divideUp(call.shape.n, kImages), room);
    how.shared = 0;
    const float factor = call.op.xScale / static_cast<float>(call.shape.hw);
    status = submit(excite<Sum>, how, call.stream, call.op, call.geometry, call.columns, jobs.parts, factor, sums, t.w1, t.b1, t.slope,
                    hidden);
    if (status != cudaSuccess) return status;

    how.blocks = std::min(call.plan.scale.total, room);
    how.shared = static_cast<std::size_t>(call.plan.scale.images) * call.plan.scale.atoms * call.geometry.atom * sizeof(float);
    return submit(scale<T, kTiles>, how, call.stream, call.op, call.geometry, call.columns, call.plan.scale, static_cast<const T*>(t.x),
                  static_cast<const T*>(t.residual), hidden, t.w2, t.b2, static_cast<T*>(t.y));
}

//: `call` for `count` images from image `first` on.
template <typename T>
Call passOf(const Call& call, int64_t first, int64_t count) {
    Call part = call;
    const int64_t elements = first * call.geometry.image;
    part.shape.n = part.geometry.n = count;
    part.tensors.x = static_cast<const T*>(call.tensors.x) + elements;
    part.tensors.y = static_cast<T*>(call.tensors.y) + elements;
    if (call.tensors.residual != nullptr) part.tensors.residual = static_cast<const T*>(call.tensors.residual) + elements;
    dealJobs(part.op, part.shape, part.device, part.plan);
    return part;
}

}  // namespace

cudaError_t launchSplit(const Call& call) {
    return withType(call.op, [&](auto type, auto tiles) {
        using T = decltype(type);
        cudaError_t status = cudaSuccess;
        for (int64_t first = 0; first < call.shape.n && status == cudaSuccess; first += call.plan.images) {
            const int64_t count = std::min(call.plan.images, call.shape.n - first);
            status = pass<T, decltype(tiles)::value>(passOf<T>(call, first, count));
        }
        return status;
    });
}

}  // namespace se
