// Road "split", second kernel: from the sums to what the last FC reads.
//
//   mean[n][c] = factor * sum_part sums[part][n][c]                 factor = xScale / hw
//   hidden[n][r] = act(b1[r] + sum_c w1[r][c] mean[n][c])           one-FC gate: hidden = mean
//
// Reads W1 once per kImages images (8 rows a block and round), the sums once per block.
#pragma once

#include "curves.cuh"
#include "dense.cuh"
#include "geometry.h"
#include "plan.h"

namespace se {

constexpr int kRowsPerJob = kSplitThreads / 32;

template <typename Sum>
__global__ void __launch_bounds__(kSplitThreads, kResident)
    excite(Op op, Geometry g, int32_t r, int32_t parts, float factor, const Sum* sums, const float* w1, const float* b1, const float* slope,
           float* hidden) {
    const bool oneLayer = op.act == Act::kNone;
    const int chunks = (r + kRowsPerJob - 1) / kRowsPerJob;
    const int64_t jobs = chunks * ((g.n + kImages - 1) / kImages);
    for (int64_t job = blockIdx.x; job < jobs; job += gridDim.x) {
        const int64_t tile = job / chunks;
        const int row0 = static_cast<int>(job - tile * chunks) * kRowsPerJob;
        const int64_t image0 = tile * kImages;
        const int rows = min(kRowsPerJob, r - row0);
        const int images = static_cast<int>(min(static_cast<int64_t>(kImages), g.n - image0));
        const auto mean = [&](int image, int channel) {
            Sum sum = 0;
#pragma unroll 1
            for (int part = 0; part < parts; ++part) sum += sums[(int64_t{part} * g.n + image0 + image) * g.c + channel];
            return static_cast<float>(sum) * factor;
        };
        if (oneLayer) {
            for (int i = static_cast<int>(threadIdx.x); i < rows * images; i += static_cast<int>(blockDim.x)) {
                hidden[(image0 + i / rows) * r + row0 + i % rows] = mean(i / rows, row0 + i % rows);
            }
            continue;
        }
        dense(w1 + int64_t{row0} * g.c, g.c, rows, g.c, images, mean, [&](int row, int image, float sum) {
            const int at = row0 + row;
            const float leak = op.act == Act::kPRelu ? loadOne(slope + at) : op.leak;
            hidden[(image0 + image) * r + at] = activate(op, sum + loadOne(b1 + at), leak);
        });
    }
}

}  // namespace se
