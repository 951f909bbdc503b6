// Road "persistent" (sm_75 to sm_89, sm_120): one cooperative launch; a group of blocks takes an image, then the next one.
//
//   s = mean_p x[c][p];   h = act(W1 s + b1);   g = gate(W2 h + b2);   y[c][p] = epilogue(x[c][p] g[c]  [+ residual | + x])
//
// memory -> L2 -> block: x.   block -> L2 -> blocks of the group: R partials a block (one FC: its means).   L2 -> block: x again, as no
// more images are under way than fit into L2 (choose.h).   memory: the residual once, y once, so that they do not push x out of L2.
#pragma once

#include "whole.cuh"

namespace se {

//: All blocks of a group are here, and see what the others wrote before.
__device__ __forceinline__ void groupBarrier(unsigned* counter, unsigned target) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(counter, 1U);
        waitFor(counter, target);
    }
    __syncthreads();
}

template <typename T, bool kTiles>
__global__ void __launch_bounds__(kPersistentThreads, 1) persistent(Whole<T> w) {
    const Geometry& g = w.geometry;
    const Shared shared = sharedOf(w.rooms);
    const int group = static_cast<int>(blockIdx.x) / w.blocks;
    const int rank = static_cast<int>(blockIdx.x) % w.blocks;
    const Slice slice = shareOf(g, rank, w.blocks);
    const Packing packing{g.width, g.hw};
    const Readable<T> all{w.x, w.x + g.n * g.image};
    const bool oneLayer = w.op.act == Act::kNone;
    const int64_t boardFloats = oneLayer ? int64_t{g.c} : int64_t{w.blocks} * w.columns;
    const auto blocks = static_cast<unsigned>(w.blocks);
    unsigned arrivals = 0;
    unsigned round = 0;
    for (int64_t image = group; image < g.n; image += w.groups, ++round) {
        const int64_t at = elementOf(g, image, slice.first);
        meansOf<T, kTiles>(w, slice, w.x + at, all, packing, shared);
        // Two boards in turn: a block that is one image ahead must not overwrite what a slow one still reads.
        float* board = w.boards + (int64_t{round % 2} * w.groups + group) * boardFloats;
        if (oneLayer) {
            for (int i = static_cast<int>(threadIdx.x); i < slice.count; i += static_cast<int>(blockDim.x)) {
                board[slice.first + i] = shared.means[i];
            }
        } else {
            partialsOf(w, slice, shared.means, [&](int r, float value) { board[int64_t{rank} * w.columns + r] = value; });
        }
        groupBarrier(w.counters + group, arrivals += blocks);
        for (int k = static_cast<int>(threadIdx.x); k < w.columns; k += static_cast<int>(blockDim.x)) {
            float sum = 0.0F;
            if (oneLayer) {
                shared.hidden[k] = readFresh(board + k);
                continue;
            }
            for (int block = 0; block < w.blocks; ++block) sum += readFresh(board + int64_t{block} * w.columns + k);
            shared.hidden[k] = hiddenOf(w, k, sum);
        }
        __syncthreads();
        gatesOf(w, slice, shared);
        applySlice<T, kTiles>(w, slice, w.x + at, packing, at, true, shared.gates);
        // Nobody reads the next image before all have done with this one, which L2 could lose.
        if (w.together) {
            groupBarrier(w.counters + group, arrivals += blocks);
        } else {
            __syncthreads();
        }
    }
}

}  // namespace se
