// Road "split", first kernel: the sums over positions.
//
//   sums[part][n][c] = sum of x[n][c][p] over the part's positions          part of hw/parts positions
//
// Reads x once; writes parts * N * C sums (float; 64-bit integers for int8). Parts are there to fill the device when N * C is small.
#pragma once

#include "geometry.h"
#include "plan.h"
#include "squeeze.cuh"

namespace se {

template <typename T, bool kTiles>
__global__ void __launch_bounds__(kSplitThreads, kResident) pool(Geometry g, Jobs jobs, const T* x, typename Kind<T>::Sum* sums) {
    unsigned char* scratch = blockShared();
    for (int64_t job = blockIdx.x; job < jobs.total; job += gridDim.x) {
        const int64_t part = job % jobs.parts;
        const int64_t chunk = job / jobs.parts % jobs.chunks;
        const int64_t image = job / jobs.parts / jobs.chunks;
        const int64_t last = (chunk + 1) * jobs.atoms;
        const int64_t atoms = divideUp(g.c, g.atom);
        const Slice slice = sliceOf(g, chunk * jobs.atoms, last < atoms ? last : atoms);
        const int p0 = static_cast<int>(partBegin(g.hw, part, jobs.parts));
        const int p1 = static_cast<int>(partBegin(g.hw, part + 1, jobs.parts));
        const T* from = x + elementOf(g, image, slice.first);
        auto* to = sums + (part * g.n + image) * g.c + slice.first;
        const auto keep = [&](int channel, typename Kind<T>::Sum sum) {
            if (channel < slice.count) to[channel] = sum;
        };
        if constexpr (kTiles) {
            squeezeTiles(from, Packing{g.width, g.hw}, slice.padded, p0, p1, scratch, keep);
        } else {
            squeezeRows(from, {x, x + g.n * g.image}, slice.count, g.hw, p0, p1, scratch, keep);
        }
    }
}

}  // namespace se
