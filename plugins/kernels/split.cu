// Road (a): pool, excite, scale.
#include "excite.cuh"
#include "pool.cuh"
#include "roads.h"
#include "scale.cuh"

namespace se {
namespace {

template <typename T, bool kTiles>
cudaError_t run(const Call& call) {
    using Sum = typename Kind<T>::Sum;
    const Tensors& t = call.tensors;
    const Jobs& jobs = call.plan.pool;
    const int64_t room = splitBlocks(call.device);
    auto* sums = reinterpret_cast<Sum*>(call.workspace);
    auto* hidden = reinterpret_cast<float*>(call.workspace + aligned(mostSums(call.op, call.shape, call.device) * int64_t{sizeof(Sum)}));

    Launch how;
    how.threads = kSplitThreads;
    how.blocks = std::min(jobs.total, room);
    how.shared = squeezeScratch<T>(kSplitThreads);
    cudaError_t status = submit(pool<T, kTiles>, how, call.stream, call.geometry, jobs, static_cast<const T*>(t.x), sums);
    if (status != cudaSuccess) return status;

    how.blocks = std::min(divideUp(call.columns, kRowsPerJob) * divideUp(call.shape.n, kImages), room);
    how.shared = 0;
    const float factor = call.op.xScale / static_cast<float>(call.shape.hw);
    status = submit(excite<Sum>, how, call.stream, call.op, call.geometry, call.columns, jobs.parts, factor, sums, t.w1, t.b1, t.slope,
                    hidden);
    if (status != cudaSuccess) return status;

    how.blocks = std::min(call.plan.scale.total, room);
    how.shared = static_cast<std::size_t>(call.plan.scale.images * call.plan.scale.atoms * call.geometry.atom) * sizeof(float);
    return submit(scale<T, kTiles>, how, call.stream, call.op, call.geometry, call.columns, call.plan.scale, static_cast<const T*>(t.x),
                  static_cast<const T*>(t.residual), hidden, t.w2, t.b2, static_cast<T*>(t.y));
}

}  // namespace

cudaError_t launchSplit(const Call& call) {
    return withType(call.op, [&](auto type, auto tiles) { return run<decltype(type), decltype(tiles)::value>(call); });
}

}  // namespace se
