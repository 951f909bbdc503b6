// Road "split", third kernel: the gates of a chunk of channels, then their elements.
//
//   g[n][c] = gate(b2[c] + sum_k w2[c][k] hidden[n][k])
//   y[n][c][p] = epilogue(x[n][c][p] * g[n][c]  [+ residual | + x])
//
// Reads x and the residual once, writes y once, reads a chunk's rows of W2 once for all images of the job.
#pragma once

#include "apply.cuh"
#include "dense.cuh"
#include "geometry.h"
#include "plan.h"

namespace se {

template <typename T, bool kTiles>
__global__ void __launch_bounds__(kSplitThreads, kResident) scale(Op op, Geometry g, int32_t k, Jobs jobs, const T* x, const T* residual,
                                                       const float* hidden, const float* w2, const float* b2, T* y) {
    float* gates = reinterpret_cast<float*>(blockShared());  // [image of the job][channel of the chunk]
    const int channels = static_cast<int>(jobs.atoms * g.atom);
    const Finish finish = finishOf(op, false);
    for (int64_t job = blockIdx.x; job < jobs.total; job += gridDim.x) {
        const int64_t part = job % jobs.parts;
        const int64_t chunk = job / jobs.parts % jobs.chunks;
        const int64_t image0 = job / jobs.parts / jobs.chunks * jobs.images;
        const int images = static_cast<int>(min(jobs.images, g.n - image0));
        const int64_t last = (chunk + 1) * jobs.atoms;
        const int64_t atoms = divideUp(g.c, g.atom);
        const Slice slice = sliceOf(g, chunk * jobs.atoms, last < atoms ? last : atoms);
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
                const int p0 = static_cast<int>(partBegin(g.hw, part, jobs.parts));
                const int p1 = static_cast<int>(partBegin(g.hw, part + 1, jobs.parts));
                applyTiles(finish, x + at, packing, added, y + at, packing, slice.count, slice.padded, p0, p1, own);
            } else {
                const int64_t elements = int64_t{slice.count} * g.hw;
                applyRows(finish, x + at, added, y + at, partBegin(elements, part, jobs.parts), partBegin(elements, part + 1, jobs.parts), g.hw, own);
            }
        }
        __syncthreads();
    }
}

}  // namespace se
