// Road (c): one cooperative launch, groups of blocks that walk over the images.
#include "persistent.cuh"
#include "prepare.h"

namespace se {

cudaError_t launchPersistent(const Call& call) {
    Launch how = launchOf(call.plan);
    how.cooperative = true;
    const auto counters = static_cast<std::size_t>(aligned(int64_t{call.device.multiprocessors} * 4));
    const cudaError_t status = cudaMemsetAsync(call.workspace, 0, counters, call.stream);
    if (status != cudaSuccess) return status;
    return withType(call.op, [&](auto type, auto tiles) {
        using T = decltype(type);
        Whole<T> w = wholeOf<T>(call);
        w.counters = reinterpret_cast<unsigned*>(call.workspace);
        w.boards = reinterpret_cast<float*>(call.workspace + counters);
        return submit(persistent<T, decltype(tiles)::value>, how, call.stream, w);
    });
}

}  // namespace se
