// The second read and the write of a slice of one image, by one block.
//
//   y[c][p] = epilogue(x[c][p] * g[c]  [+ residual[c][p] | + x[c][p]])     rounded once
//
// for int8 with x * xScale, residual * residualScale and y / yScale; g holds xScale already.
// Rows (kLinear): the slice is one run of memory; its 16-byte granules cross rows, so every access but the run's own ends is 16 bytes wide,
// 7*7 or not. Channels-last: see tile.cuh; padded channels of y are written as zeros, whatever x's hold.
#pragma once

#include "curves.cuh"
#include "tile.cuh"

namespace se {

//: Vectors under way at a time; int8's sixteen values and gates fill the registers alone.
template <typename T>
constexpr int kAtOnce = sizeof(T) == 1 ? 1 : 2;

//: What becomes of an element; the same for all threads.
struct Finish {
    Skip skip;
    Epilogue epilogue;
    float xScale;
    float residualScale;
    float perY;  // 1 / yScale
    bool streamed;
};

//: `factors` of an op whose scales are 1 where its type is not int8.
__device__ __forceinline__ Finish finishOf(const Op& op, bool streamed) {
    return {op.skip, op.epilogue, op.xScale, op.residualScale, 1.0F / op.yScale, streamed};
}

//: kCount elements; `residual` is not looked at unless it is added.
template <typename T, int kCount>
__device__ __forceinline__ void finishElements(const Finish& f, const T* x, const T* residual, const float* gates, T* y) {
    float v[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) v[i] = toFloat(x[i]) * gates[i];
    if (f.skip == Skip::kAdd) {
#pragma unroll
        for (int i = 0; i < kCount; ++i) v[i] += toFloat(residual[i]) * f.residualScale;
    } else if (f.skip == Skip::kSelf) {
#pragma unroll
        for (int i = 0; i < kCount; ++i) v[i] += toFloat(x[i]) * f.xScale;
    }
    finish(f.epilogue, v);
#pragma unroll
    for (int i = 0; i < kCount; ++i) roundTo(v[i] * f.perY, y[i]);
}

//: kLinear: elements [from, to) of the slice that begins at `x`, `residual` (or null) and `y`, all three equally aligned; from < 2^31.
template <typename T>
__device__ inline void applyRows(const Finish& f, const T* x, const T* residual, T* y, int64_t from, int64_t to, int hw,
                                 const float* gates) {
    constexpr int V = kVector<T>;
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t head = min(static_cast<int64_t>(untilAligned(y + from)), to - from);
    const int64_t vectors = (to - from - head) / V;
    const int64_t tail = from + head + vectors * V;
#pragma unroll kAtOnce<T>
    for (int64_t i = thread; i < vectors; i += blockDim.x) {
        const int64_t element = from + head + i * V;
        const auto row = static_cast<unsigned>(element) / static_cast<unsigned>(hw);
        int left = hw - static_cast<int>(static_cast<unsigned>(element) - row * static_cast<unsigned>(hw));
        const float* gate = gates + row;
        float g[V];
        g[0] = *gate;
#pragma unroll
        for (int k = 1; k < V; ++k) {
            if (--left == 0) {
                ++gate;
                left = hw;
            }
            g[k] = *gate;
        }
        const Vector<T> in = load(x + element);
        Vector<T> added = {};
        if (f.skip == Skip::kAdd) added = load(residual + element, f.streamed);
        Vector<T> out;
        finishElements<T, V>(f, in.at, added.at, g, out.at);
        store(y + element, out, f.streamed);
    }
    for (int64_t i = thread; i < head + to - tail; i += blockDim.x) {
        const int64_t element = i < head ? from + i : tail + i - head;
        const T in = loadOne(x + element);
        T added = {};
        if (f.skip == Skip::kAdd) added = loadOne(residual + element);
        T out;
        finishElements<T, 1>(f, &in, &added, gates + static_cast<unsigned>(element) / static_cast<unsigned>(hw), &out);
        storeOne(y + element, out);
    }
}

//: Channels-last: positions [p0, p1) of a slice of `count` channels, `padded` with the padding. x may lie in another packing than y.
template <typename T>
__device__ inline void applyTiles(const Finish& f, const T* x, const Packing& xPacking, const T* residual, T* y, const Packing& packing,
                                  int count, int padded, int p0, int p1, const float* gates) {
    constexpr int V = kVector<T>;
    const int units = padded / V;
    const Tile t = tileOf<T>(units, packing.width, p1 - p0);
    for (int first = 0; t.works && first < units; first += t.round()) {
        const int channel = (first + t.unit) * V;
        if (channel >= padded) continue;
        const int real = min(V, count - channel);
        float g[V];
#pragma unroll
        for (int i = 0; i < V; ++i) g[i] = i < real ? gates[channel + i] : 0.0F;
        const int64_t from = xPacking.offset(channel);
        const int64_t at = packing.offset(channel);
#pragma unroll kAtOnce<T>
        for (int p = p0 + t.position; p < p1; p += t.positions) {
            const int64_t element = at + int64_t{p} * packing.width;
            const Vector<T> in = load(x + from + int64_t{p} * xPacking.width);
            Vector<T> added = {};
            if (f.skip == Skip::kAdd) added = load(residual + element, f.streamed);
            Vector<T> out;
            finishElements<T, V>(f, in.at, added.at, g, out.at);
            if (real < V) {
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    if (i >= real) out.at[i] = T{};
                }
            }
            store(y + element, out, f.streamed);
        }
    }
}

}  // namespace se
