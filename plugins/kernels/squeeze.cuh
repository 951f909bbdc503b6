// The sum over positions of a slice of channels, by one block; from global memory or from the block's own.
//
//   out(c, sum_{p0 <= p < p1} x[c][p])     once for every channel c of the slice, by one thread
//
// Rows (kLinear): a row of 7*7 halves starts anywhere, so its lanes read the aligned 16 bytes that cover it and leave out the neighbours'
// elements; every line comes from memory once, the granule that two rows share hits L1. Only where those 16 bytes would leave the
// tensor (its very first and last row) are elements read one by one. Channels-last: see tile.cuh.
// The order of addition depends on the shape alone, so the bits are the same on every run.
#pragma once

#include "tile.cuh"

namespace se {

//: Bytes of shared memory that `squeezeRows` and `squeezeTiles` use.
template <typename T>
constexpr std::size_t squeezeScratch(int threads) {
    return static_cast<std::size_t>(threads) * kVector<T> * sizeof(typename Kind<T>::Partial);
}

//: A run of readable memory.
template <typename T>
struct Readable {
    const T* from;
    const T* to;
};

template <typename T>
__device__ __forceinline__ bool covers(const Readable<T>& all, const T* granule) {
    return granule >= all.from && granule + kVector<T> <= all.to;
}

//: The sum of those elements at `granule` that are in `row`, read one by one.
template <typename T>
__device__ __forceinline__ typename Kind<T>::Partial sumSingly(const T* granule, const Readable<T>& row) {
    typename Kind<T>::Partial sum = 0;
#pragma unroll 1
    for (int i = 0; i < kVector<T>; ++i) {
        if (granule + i >= row.from && granule + i < row.to) sum += toPartial(loadOne(granule + i));
    }
    return sum;
}

//: All ones in the bytes below `count` of a word.
__device__ __forceinline__ uint32_t lowBytes(int count) {
    return count >= 4 ? 0xFFFFFFFFU : (count <= 0 ? 0U : (1U << 8 * count) - 1U);
}

//: The sum of those of the 16 bytes at `granule` that are in `row`; the others become zeros, which every type writes with zero bits.
template <typename T>
__device__ __forceinline__ typename Kind<T>::Partial sumInside(Vector<T> v, const T* granule, const Readable<T>& row) {
    if (!covers(row, granule)) {
        const int first = granule < row.from ? static_cast<int>((row.from - granule) * sizeof(T)) : 0;
        const int end = granule + kVector<T> > row.to ? static_cast<int>((row.to - granule) * sizeof(T)) : 16;
        v.words.x &= lowBytes(end) & ~lowBytes(first);
        v.words.y &= lowBytes(end - 4) & ~lowBytes(first - 4);
        v.words.z &= lowBytes(end - 8) & ~lowBytes(first - 8);
        v.words.w &= lowBytes(end - 12) & ~lowBytes(first - 12);
    }
    return sumOf(v);
}

//: One lane's share of the sum of a row: 16-byte granules lane, lane + lanes, ..; four loads are under way at a time.
template <typename T>
__device__ __forceinline__ typename Kind<T>::Partial sumRow(const Readable<T>& row, const Readable<T>& all, int lane, int lanes) {
    constexpr int kAtOnce = 4;
    const T* base = row.from - reinterpret_cast<uintptr_t>(row.from) % 16 / sizeof(T);
    const int granules = static_cast<int>((row.to - base + kVector<T> - 1) / kVector<T>);
    typename Kind<T>::Partial sum = 0;
    for (int first = lane; first < granules; first += kAtOnce * lanes) {
        Vector<T> v[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
            const T* granule = base + int64_t{first + i * lanes} * kVector<T>;
            if (first + i * lanes < granules && covers(all, granule)) v[i] = load(granule);
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
            const T* granule = base + int64_t{first + i * lanes} * kVector<T>;
            if (first + i * lanes >= granules) break;
            sum += covers(all, granule) ? sumInside(v[i], granule, row) : sumSingly(granule, row);
        }
    }
    return sum;
}

//: Lanes that share a row: some four granules each, more where rows are too few to keep the block busy.
__device__ __forceinline__ int lanesPerRow(int granules, int rows) {
    const int threads = static_cast<int>(blockDim.x);
    int lanes = min(threads, powerOfTwo((granules + 3) / 4));
    while (lanes < threads && lanes < granules && lanes * rows < threads) lanes *= 2;
    return lanes;
}

//: kLinear: row r of the slice is the positions [p0, p1) of `x + r * hw`; nothing outside `all` is read.
template <typename T, typename Out>
__device__ inline void squeezeRows(const T* x, const Readable<T>& all, int rows, int hw, int p0, int p1, void* scratch, Out out) {
    using Sum = typename Kind<T>::Sum;
    const int thread = static_cast<int>(threadIdx.x);
    const int lanes = lanesPerRow((p1 - p0 + kVector<T> - 1) / kVector<T>, rows);
    const int together = static_cast<int>(blockDim.x) / lanes;
    Sum* warps = static_cast<Sum*>(scratch);
    for (int first = 0; first < rows; first += together) {
        const int row = first + thread / lanes;
        const T* start = x + int64_t{row} * hw;
        Sum sum = row < rows ? static_cast<Sum>(sumRow<T>({start + p0, start + p1}, all, thread % lanes, lanes)) : Sum{0};
        sum = sumOverLanes(sum, min(lanes, 32));
        if (lanes > 32) {
            if (thread % 32 == 0) warps[thread / 32] = sum;
            __syncthreads();
            sum = 0;
            for (int i = 0; i < lanes / 32; ++i) sum += warps[thread / lanes * (lanes / 32) + i];
        }
        if (thread % lanes == 0 && row < rows) out(row, sum);
        if (lanes > 32) __syncthreads();
    }
}

//: Channels-last: `x` is (first channel, position 0) of a slice of `channels` (padding included).
template <typename T, typename Out>
__device__ inline void squeezeTiles(const T* x, const Packing& packing, int channels, int p0, int p1, void* scratch, Out out) {
    using Partial = typename Kind<T>::Partial;
    using Sum = typename Kind<T>::Sum;
    constexpr int V = kVector<T>;
    const int units = channels / V;
    const Tile t = tileOf<T>(units, packing.width, p1 - p0);
    Partial* partials = static_cast<Partial*>(scratch);  // [tile][position][unit][V]
    for (int first = 0; first < units; first += t.round()) {
        const int unit = first + t.unit;
        Partial sums[V] = {};
        if (t.works && unit < units) {
            const T* from = x + packing.offset(unit * V);
#pragma unroll 4
            for (int p = p0 + t.position; p < p1; p += t.positions) {
                const Vector<T> v = load(from + int64_t{p} * packing.width);
#pragma unroll
                for (int i = 0; i < V; ++i) sums[i] += toPartial(v.at[i]);
            }
        }
        if (t.works) {
#pragma unroll
            for (int i = 0; i < V; ++i) partials[t.slot * V + i] = sums[i];
        }
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < t.round() * V; i += static_cast<int>(blockDim.x)) {
            const int tile = i / (t.units * V);
            const int inside = i % (t.units * V);
            Sum sum = 0;
            for (int p = 0; p < t.positions; ++p) sum += partials[(tile * t.positions + p) * t.units * V + inside];
            if (first * V + i < channels) out(first * V + i, sum);
        }
        __syncthreads();
    }
}

}  // namespace se
