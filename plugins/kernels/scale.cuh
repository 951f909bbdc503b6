// Road "split", third kernel: the gates of a chunk of channels, then their elements.
//
//   g[n][c] = gate(b2[c] + sum_k w2[c][k] hidden[n][k])
//   y[n][c][p] = epilogue(x[n][c][p] * g[n][c]  [+ residual | + x])
//
// Reads x and the residual once, writes y once, reads a chunk's rows of W2 once for all images of the job.
#pragma once

#include "apply.cuh"
#include "dense.cuh"
#include "piece.h"

namespace se {

template <typename T, bool kTiles>
__global__ void __launch_bounds__(kSplitThreads, kResident) scale(Op op, Geometry g, int32_t k, Jobs jobs, const T* x, const T* residual,
                                                       const float* hidden, const float* w2, const float* b2, T* y) {
    float* gates = reinterpret_cast<float*>(blockShared());  // [image of the job][channel of the chunk]
    const int channels = jobs.atoms * g.atom;
    const Finish finish = finishOf(op, false);
    for (int job = static_cast<int>(blockIdx.x); job < jobs.total; job += static_cast<int>(gridDim.x)) {
        const Piece piece = pieceOf(g, jobs, job);
        const Slice& slice = piece.slice;
        const int64_t image0 = piece.image;
        const int images = static_cast<int>(min(static_cast<int64_t>(jobs.images), g.n - image0));
        dense(w2 + int64_t{slice.first} * k, k, slice.count, k, images,
              [&](int image, int column) { return hidden[(image0 + image) * k + column]; },
              [&](int row, int image, float sum) {
                  gates[image * channels + row] = gateOf(op, sum + loadOne(b2 + slice.first + row)) * op.xScale;
              });
        __syncthreads();
        for (int image = 0; image < images; ++image) {
            const int64_t at = elementOf(g, image0 + image, slice.first);
            const T* added = residual == nullptr ? nullptr : residual + at;
            const float* own = gates + image * channels;
            if constexpr (kTiles) {
                const Packing packing{g.width, g.hw};
                applyTiles(finish, x + at, packing, added, y + at, packing, slice.count, slice.padded, piece.p0, piece.p1, own);
            } else {
                const int64_t count = slice.count;  // a part of the chunk's run of memory, as long as its part of the positions
                applyRows(finish, x + at, added, y + at, count * piece.p0, count * piece.p1, g.hw, own);
            }
        }
        __syncthreads();
    }
}

}  // namespace se
