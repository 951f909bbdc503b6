// A fully connected layer for up to kImages images, by one block.
//
//   out(r, n, sum_k weights[r * stride + k] * in(n, k))     for rows 0 <= r < rows, columns 0 <= k < columns
//
// A group of lanes takes a row and reads it side by side (coalesced), once for all its images: every weight is read once per block.
#pragma once

#include "access.cuh"

namespace se {

constexpr int kImages = 8;

template <int kCount, typename In, typename Out>
__device__ inline void denseFor(const float* weights, int64_t stride, int rows, int columns, int images, In in, Out out) {
    const int lanes = columns >= 32 ? 32 : max(kCount, powerOfTwo(columns));  // lane i will hold image i's sum
    [[maybe_unused]] constexpr int kAtOnce = kCount == 1 ? 4 : 2;  // loads of weights under way
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const int together = static_cast<int>(blockDim.x) / lanes;
    for (int first = 0; first < rows; first += together) {
        const int row = first + static_cast<int>(threadIdx.x) / lanes;
        float sums[kCount] = {};
        if (row < rows) {
            const float* from = weights + row * stride;
#pragma unroll kAtOnce
            for (int k = lane; k < columns; k += lanes) {
                const float w = loadOne(from + k);
#pragma unroll
                for (int i = 0; i < kCount; ++i) {
                    if (i < images) sums[i] += w * in(i, k);
                }
            }
        }
        float own = 0.0F;
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            const float sum = sumOverLanes(sums[i], lanes);
            if (lane == i) own = sum;
        }
        if (row < rows && lane < images) out(row, lane, own);
    }
}

template <typename In, typename Out>
__device__ inline void dense(const float* weights, int64_t stride, int rows, int columns, int images, In in, Out out) {
    if (images == 1) {
        denseFor<1>(weights, stride, rows, columns, images, in, out);
    } else {
        denseFor<kImages>(weights, stride, rows, columns, images, in, out);
    }
}

}  // namespace se
