// What the roads "cluster" and "persistent" share: one launch, an image's channels dealt out to `blocks` blocks.
//
// A block pools its own channels, and one exchange between the blocks makes the hidden vector whole:
//
//   two FCs: partial_b[r] = sum over own c of w1[r][c] mean[c],   hidden[r] = act(b1[r] + sum_b partial_b[r])   (b in order: same bits)
//   one FC:  every block gives its means, hidden = all means
//
// then g[c] = gate(b2[c] + sum_k w2[c][k] hidden[k]) for the block's own channels: every weight is read once per image, by one block.
#pragma once

#include "apply.cuh"
#include "dense.cuh"
#include "geometry.h"
#include "plan.h"
#include "rooms.h"
#include "squeeze.cuh"

namespace se {

//: A kernel's arguments.
template <typename T>
struct Whole {
    Op op;
    Geometry geometry;
    Rooms rooms;
    int32_t columns;  // of w2
    int32_t blocks;   // an image
    int32_t groups;   // persistent: images under way at once
    bool together;    // persistent: blocks begin the next image together
    float factor;     // from a sum to a mean: xScale / hw
    const T* x;
    const T* residual;
    const float* w1;
    const float* b1;
    const float* w2;
    const float* b2;
    const float* slope;
    T* y;
    float* boards;       // persistent: 2 x groups x what a group's blocks give each other
    unsigned* counters;  // persistent: one a group, zero at the start
};

//: A block's shared memory by name.
struct Shared {
    unsigned char* x;
    float* means;    // of own channels
    float* partial;  // of all hidden channels (two FCs)
    float* hidden;
    float* gates;  // of own channels
    void* scratch;
};

__device__ __forceinline__ Shared sharedOf(const Rooms& rooms) {
    unsigned char* base = blockShared();
    const auto floats = [&](int64_t at) { return reinterpret_cast<float*>(base + at); };
    return {base + rooms.x, floats(rooms.means), floats(rooms.partial), floats(rooms.hidden), floats(rooms.gates), base + rooms.scratch};
}

//: means of own channels, from the slice at `x` (rows: nothing outside `all` is read; tiles: in `packing`). Ends with a barrier.
template <typename T, bool kTiles>
__device__ inline void meansOf(const Whole<T>& w, const Slice& slice, const T* x, const Readable<T>& all, const Packing& packing,
                               const Shared& shared) {
    const auto keep = [&](int channel, typename Kind<T>::Sum sum) {
        if (channel < slice.count) shared.means[channel] = static_cast<float>(sum) * w.factor;
    };
    if constexpr (kTiles) {
        squeezeTiles(x, packing, slice.padded, 0, w.geometry.hw, shared.scratch, keep);
    } else {
        squeezeRows(x, all, slice.count, w.geometry.hw, 0, w.geometry.hw, shared.scratch, keep);
    }
    __syncthreads();
}

//: What this block's channels give to every hidden channel: out(r, value).
template <typename T, typename Out>
__device__ inline void partialsOf(const Whole<T>& w, const Slice& slice, const float* means, Out out) {
    denseFor<1>(w.w1 + slice.first, w.geometry.c, w.columns, slice.count, 1, [&](int, int k) { return means[k]; },
                [&](int row, int, float sum) { out(row, sum); });
}

//: hidden[r] from the sum of all partials.
template <typename T>
__device__ __forceinline__ float hiddenOf(const Whole<T>& w, int r, float sum) {
    const float leak = w.op.act == Act::kPRelu ? loadOne(w.slope + r) : w.op.leak;
    return activate(w.op, sum + loadOne(w.b1 + r), leak);
}

//: The gates of own channels, xScale in them. Ends with a barrier.
template <typename T>
__device__ inline void gatesOf(const Whole<T>& w, const Slice& slice, const Shared& shared) {
    denseFor<1>(w.w2 + int64_t{slice.first} * w.columns, w.columns, slice.count, w.columns, 1,
                [&](int, int k) { return shared.hidden[k]; },
                [&](int row, int, float sum) {
                    shared.gates[row] = gateOf(w.op, sum + loadOne(w.b2 + slice.first + row)) * w.op.xScale;
                });
    __syncthreads();
}

//: y of own channels of an image, from the slice at `x`.
template <typename T, bool kTiles>
__device__ inline void applySlice(const Whole<T>& w, const Slice& slice, const T* x, const Packing& xPacking, int64_t at, bool streamed,
                                  const float* gates) {
    const Geometry& g = w.geometry;
    const T* residual = w.residual == nullptr ? nullptr : w.residual + at;
    const Finish finish = finishOf(w.op, streamed);
    if constexpr (kTiles) {
        applyTiles(finish, x, xPacking, residual, w.y + at, Packing{g.width, g.hw}, slice.count, slice.padded, 0, g.hw, gates);
    } else {
        applyRows(finish, x, residual, w.y + at, 0, int64_t{slice.count} * g.hw, g.hw, gates);
    }
}

}  // namespace se
