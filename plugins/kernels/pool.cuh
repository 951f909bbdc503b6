// Road "split", first kernel: the sums over positions.
//
//   sums[part][n][c] = sum of x[n][c][p] over the part's positions          part of hw/parts positions
//
// Reads x once; writes parts * N * C sums (float; 64-bit integers for int8). Parts are there to fill the device when N * C is small.
#pragma once

#include "piece.h"
#include "squeeze.cuh"

namespace se {

template <typename T, bool kTiles>
__global__ void __launch_bounds__(kSplitThreads, kResident) pool(Geometry g, Jobs jobs, const T* x, typename Kind<T>::Sum* sums) {
    unsigned char* scratch = blockShared();
    for (int job = static_cast<int>(blockIdx.x); job < jobs.total; job += static_cast<int>(gridDim.x)) {
        const Piece piece = pieceOf(g, jobs, job);
        const Slice& slice = piece.slice;
        const int64_t image = piece.image;
        const T* from = x + elementOf(g, image, slice.first);
        auto* to = sums + (piece.part * g.n + image) * g.c + slice.first;
        const auto keep = [&](int channel, typename Kind<T>::Sum sum) {
            if (channel < slice.count) to[channel] = sum;
        };
        if constexpr (kTiles) {
            squeezeTiles(from, Packing{g.width, g.hw}, slice.padded, piece.p0, piece.p1, scratch, keep);
        } else {
            squeezeRows(from, {x, x + g.n * g.image}, slice.count, g.hw, piece.p0, piece.p1, scratch, keep);
        }
    }
}

}  // namespace se
