// Road (b): one launch, a thread-block cluster per image.
#include "cluster.cuh"
#include "prepare.h"

namespace se {

cudaError_t launchCluster(const Call& call) {
    Launch how = launchOf(call.plan);
    how.cluster = call.plan.blocks;
    return withType(call.op, [&](auto type, auto tiles) {
        using T = decltype(type);
        return submit(cluster<T, decltype(tiles)::value>, how, call.stream, wholeOf<T>(call));
    });
}

}  // namespace se
