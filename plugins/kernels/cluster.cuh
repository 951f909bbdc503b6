// Road "cluster" (sm_90, sm_100): a thread-block cluster holds an image in its blocks' shared memory, so x is read once.
//
//   s = mean_p x[c][p];   h = act(W1 s + b1);   g = gate(W2 h + b2);   y[c][p] = epilogue(x[c][p] g[c]  [+ residual | + x])
//
// global -> shared: x once.   shared -> shared of the peers: R partials a block (one FC: its means).   shared, residual -> global: y once.
#pragma once

#include "whole.cuh"

namespace se {

//: `units` times 16 bytes, `from(i)` to `to + i * kVector`; four loads are under way at a time.
template <typename T, typename From>
__device__ inline void copyUnits(int units, From from, T* to) {
    constexpr int kAtOnce = 4;
    const int threads = static_cast<int>(blockDim.x);
    for (int first = static_cast<int>(threadIdx.x); first < units; first += kAtOnce * threads) {
        Vector<T> v[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
            if (first + i * threads < units) v[i] = load(from(first + i * threads));
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
            if (first + i * threads < units) store(to + (first + i * threads) * kVector<T>, v[i], false);
        }
    }
}

//: A run of `count` elements; `to` is aligned like `from`.
template <typename T>
__device__ inline void copyRun(const T* from, int count, T* to) {
    const int head = min(untilAligned(from), count);
    const int units = (count - head) / kVector<T>;
    const int tail = head + units * kVector<T>;
    copyUnits(units, [&](int i) { return from + head + i * kVector<T>; }, to + head);
    for (int i = static_cast<int>(threadIdx.x); i < head + count - tail; i += static_cast<int>(blockDim.x)) {
        const int element = i < head ? i : tail + i - head;
        to[element] = loadOne(from + element);
    }
}

//: The slice at `from` into the block's own memory; returns where it begins there. A channels-last slice is packed there:
//: its own channels are next to each other.
template <typename T, bool kTiles>
__device__ inline T* copySlice(const Geometry& g, const Slice& slice, const T* from, unsigned char* room) {
    T* to = reinterpret_cast<T*>(room + (16 - untilAligned(from) * sizeof(T)) % 16);
    if constexpr (kTiles) {
        if (g.width != g.atom) {  // kHWC8, kHWC16 with more than one atom: a position's channels are a run
            const int units = slice.padded / kVector<T>;
            copyUnits(g.hw * units, [&](int i) { return from + int64_t{i / units} * g.width + i % units * kVector<T>; }, to);
            return to;
        }
    }
    copyRun(from, (kTiles ? slice.padded : slice.count) * g.hw, to);
    return to;
}

template <typename T, bool kTiles>
__global__ void __launch_bounds__(kClusterThreads, kResident) cluster(Whole<T> w) {
#if defined(SE_SIMT) || (__CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1200)
    const Geometry& g = w.geometry;
    const Shared shared = sharedOf(w.rooms);
    const int rank = static_cast<int>(blockIdx.x) % w.blocks;
    const Slice slice = shareOf(g, rank, w.blocks);
    const Packing local{g.width == g.atom ? g.width : slice.padded, g.hw};
    const bool oneLayer = w.op.act == Act::kNone;
    const int64_t image = static_cast<int>(blockIdx.x) / w.blocks;
    const int64_t at = elementOf(g, image, slice.first);
    const T* x = copySlice<T, kTiles>(g, slice, w.x + at, shared.x);
    __syncthreads();
    meansOf<T, kTiles>(w, slice, x, {x, x + int64_t{slice.count} * g.hw}, local, shared);
    if (!oneLayer) partialsOf(w, slice, shared.means, [&](int r, float value) { shared.partial[r] = value; });
    clusterSync();
    if (oneLayer) {
        for (int block = 0; block < w.blocks; ++block) {
            const Slice theirs = shareOf(g, block, w.blocks);
            const float* means = clusterPeer(shared.means, block);
            for (int i = static_cast<int>(threadIdx.x); i < theirs.count; i += static_cast<int>(blockDim.x)) {
                shared.hidden[theirs.first + i] = means[i];
            }
        }
    } else {
        for (int r = static_cast<int>(threadIdx.x); r < w.columns; r += static_cast<int>(blockDim.x)) {
            float sum = 0.0F;
            for (int block = 0; block < w.blocks; ++block) sum += clusterPeer(shared.partial, block)[r];
            shared.hidden[r] = hiddenOf(w, r, sum);
        }
    }
    __syncthreads();
    gatesOf(w, slice, shared);
    applySlice<T, kTiles>(w, slice, x, local, at, false, shared.gates);
    clusterSync();  // a peer may still read what ends with this block
#endif
}

}  // namespace se
