// Who reads what where channels lie next to each other (kHWC8, kHWC16, kCHW32): a thread keeps one unit (16 bytes of channels) and walks
// over positions, so its sums and its gates stay in registers.
//
//   thread -> (tile, position, unit in the tile), units fastest:  | u0 u1 .. u7 | u0 u1 .. u7 | ..   a tile's units at p, p + 1, ..
//
// A tile is up to 8 neighbouring units (128 bytes, one line of L2); several tiles run side by side where a map has few positions.
#pragma once

#include "access.cuh"

namespace se {

//: A slice of one image in channels-last memory: unit u's position p is at `offset(u) + p * width`.
struct Packing {
    int32_t width;
    int32_t hw;

    __device__ __forceinline__ int64_t offset(int channel) const {
        return int64_t{channel / width * width} * hw + channel % width;
    }
};

//: This thread's place.
struct Tile {
    int units;      // of a tile
    int positions;  // that a tile's threads read at once
    int together;   // tiles side by side
    int unit;       // this thread's unit in the first round of tiles
    int position;   // its first position, counted from the part's first
    int slot;       // its place among the threads that work
    bool works;

    __device__ __forceinline__ int round() const { return together * units; }
};

template <typename T>
__device__ inline Tile tileOf(int sliceUnits, int width, int positions) {
    const int thread = static_cast<int>(threadIdx.x);
    const int threads = static_cast<int>(blockDim.x);
    const int neighbours = min(width / kVector<T>, sliceUnits);
    Tile t;
    t.units = static_cast<int>((neighbours + (neighbours + 7) / 8 - 1) / ((neighbours + 7) / 8));
    t.positions = max(1, min(threads / t.units, positions));
    t.together = threads / (t.units * t.positions);
    t.slot = thread;
    t.works = thread < t.together * t.positions * t.units;
    t.unit = thread / (t.positions * t.units) * t.units + thread % t.units;
    t.position = thread / t.units % t.positions;
    return t;
}

}  // namespace se
