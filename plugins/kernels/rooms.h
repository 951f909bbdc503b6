// How a block of the roads "cluster" and "persistent" divides its shared memory; offsets in bytes.
#pragma once

#include "geometry.h"

namespace se {

struct Rooms {
    int64_t x = 0;  // cluster: the block's slice of the image, with as much room before it as makes it aligned like the original
    int64_t means = 0;
    int64_t partial = 0;
    int64_t hidden = 0;
    int64_t gates = 0;
    int64_t scratch = 0;
    int64_t total = 0;
};

//: For slices of an image shared by `blocks` blocks. `elementBytes` is 0 where x stays in global memory.
inline Rooms roomsOf(const Geometry& g, int64_t columns, bool oneLayer, int64_t blocks, int64_t elementBytes, int64_t scratch) {
    const auto round = [](int64_t bytes) { return divideUp(bytes, 16) * 16; };
    const int64_t channels = divideUp(divideUp(g.c, g.atom), blocks) * g.atom;
    Rooms rooms;
    rooms.means = elementBytes == 0 ? 0 : round(channels * g.hw * elementBytes) + 16;
    rooms.partial = rooms.means + round(channels * 4);
    rooms.hidden = rooms.partial + (oneLayer ? 0 : round(columns * 4));
    rooms.gates = rooms.hidden + round(columns * 4);
    rooms.scratch = rooms.gates + round(channels * 4);
    rooms.total = rooms.scratch + scratch;
    return rooms;
}

}  // namespace se
