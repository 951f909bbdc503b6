// Which road a node takes, from its shape and the device's limits alone. All sizes here are bytes unless they say otherwise.
#pragma once

#include <algorithm>

#include "access.cuh"
#include "geometry.h"
#include "plan.h"

namespace se {

inline int64_t sizeOf(Type type) {
    switch (type) {
        case Type::kFloat: return 4;
        case Type::kHalf:
        case Type::kBFloat16: return 2;
        case Type::kInt8: return 1;
    }
    return 1;
}

//: Columns of w2: the hidden channels, or all channels where there is one FC.
inline int64_t columnsOf(const Op& op, const Shape& shape) { return op.act == Act::kNone ? shape.c : shape.r; }

//: Blocks of the split road that the device holds at once.
inline int64_t splitBlocks(const Device& device) { return int64_t{2048 / kSplitThreads} * device.multiprocessors; }

//: A thread's INT8 partial sums are 32 bits wide (see Kind), so that no part may be longer.
inline int64_t leastParts(const Shape& shape) { return divideUp(shape.hw, kMostPositions); }

//: Chunks of channels: some 32 KiB, at least one 128-byte line of each position, at most 256 channels.
inline Jobs chunksOf(const Op& op, const Shape& shape) {
    constexpr int64_t kChunk = 32 * 1024;
    constexpr int64_t kLine = 128;
    const int64_t atom = atomOf(op.layout);
    const int64_t atoms = divideUp(shape.c, atom);
    const bool interleaved = op.layout == Layout::kHWC8 || op.layout == Layout::kHWC16;
    const int64_t least = interleaved ? std::max<int64_t>(1, kLine / (sizeOf(op.type) * atom)) : 1;
    const int64_t wanted = kChunk / (shape.hw * sizeOf(op.type) * atom);
    Jobs jobs;
    jobs.atoms = std::min(atoms, std::clamp<int64_t>(wanted, least, 256 / atom));
    jobs.chunks = divideUp(atoms, jobs.atoms);
    return jobs;
}

//: Parts of the positions, where images and chunks do not fill the device; each at least 4 KiB.
inline int64_t partsOf(const Op& op, const Shape& shape, const Device& device, const Jobs& jobs) {
    constexpr int64_t kPart = 4 * 1024;
    const int64_t chunkBytes = jobs.atoms * atomOf(op.layout) * shape.hw * sizeOf(op.type);
    const int64_t free = splitBlocks(device) / (shape.n * jobs.chunks);
    return std::max(leastParts(shape), std::min(free, std::min(chunkBytes / kPart, shape.hw)));
}

//: Road (a): three launches with the grid filled. The second read of x comes from L2 where all of x fits there.
inline Plan splitPlan(const Op& op, const Shape& shape, const Device& device) {
    constexpr int64_t kMostImages = 8;  // of a job of `scale`; kImages of dense.cuh
    Plan plan;
    plan.road = Road::kSplit;
    plan.pool = chunksOf(op, shape);
    plan.pool.parts = partsOf(op, shape, device, plan.pool);
    plan.pool.total = shape.n * plan.pool.chunks * plan.pool.parts;
    plan.scale = plan.pool;
    plan.scale.images = std::clamp<int64_t>(shape.n * plan.scale.chunks / splitBlocks(device), 1, kMostImages);
    plan.scale.total = divideUp(shape.n, plan.scale.images) * plan.scale.chunks * plan.scale.parts;
    return plan;
}

//: Sums that `pool` may write: monotone in n, though parts are not.
inline int64_t mostSums(const Op& op, const Shape& shape, const Device& device) {
    const Jobs jobs = chunksOf(op, shape);
    const int64_t blocks = std::max(shape.n * jobs.chunks * leastParts(shape), splitBlocks(device));
    return blocks * jobs.atoms * atomOf(op.layout);
}

inline Plan choose(const Op& op, const Shape& shape, const Device& device) { return splitPlan(op, shape, device); }

}  // namespace se
