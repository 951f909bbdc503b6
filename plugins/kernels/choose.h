// Which road a node takes, from its shape and the device's limits alone. All sizes here are bytes unless they say otherwise.
#pragma once

#include <algorithm>
#include <optional>

#include "access.cuh"
#include "geometry.h"
#include "plan.h"
#include "rooms.h"

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

//: Atoms in a chunk of channels: some 32 KiB, at least one 128-byte line of each position, at most 256 channels.
inline int64_t chunkOf(const Op& op, const Shape& shape) {
    constexpr int64_t kChunk = 32 * 1024;
    constexpr int64_t kLine = 128;
    const int64_t atom = atomOf(op.layout);
    const bool interleaved = op.layout == Layout::kHWC8 || op.layout == Layout::kHWC16;
    const int64_t least = interleaved ? std::max<int64_t>(1, kLine / (sizeOf(op.type) * atom)) : 1;
    const int64_t wanted = kChunk / (shape.hw * sizeOf(op.type) * atom);
    return std::min(divideUp(shape.c, atom), std::clamp<int64_t>(wanted, least, 256 / atom));
}

inline int64_t chunksOf(const Op& op, const Shape& shape) { return divideUp(divideUp(shape.c, atomOf(op.layout)), chunkOf(op, shape)); }

//: Parts of the positions, where images and chunks do not fill the device; each at least 4 KiB.
inline int64_t partsOf(const Op& op, const Shape& shape, const Device& device) {
    constexpr int64_t kPart = 4 * 1024;
    const int64_t chunkBytes = chunkOf(op, shape) * atomOf(op.layout) * shape.hw * sizeOf(op.type);
    const int64_t free = splitBlocks(device) / (shape.n * chunksOf(op, shape));
    return std::max(leastParts(shape), std::min(free, std::min(chunkBytes / kPart, shape.hw)));
}

//: Sums that `pool` may write: monotone in n, though parts are not.
inline int64_t mostSums(const Op& op, const Shape& shape, const Device& device) {
    const int64_t blocks = std::max(shape.n * chunksOf(op, shape) * leastParts(shape), splitBlocks(device));
    return blocks * chunkOf(op, shape) * atomOf(op.layout);
}

//: What is left of L2 for x: half where y pushes through it as well, more where y and the residual are evicted first (persistent).
inline int64_t l2Budget(Road road, const Device& device) {
    return road == Road::kPersistent ? device.l2Bytes / 4 * 3 : device.l2Bytes / 2;
}

inline int64_t imageBytes(const Op& op, const Shape& shape) { return geometryOf(op.layout, shape).image * sizeOf(op.type); }

inline int64_t weightBytes(const Op& op, const Shape& shape) {
    return 4 * shape.c * columnsOf(op, shape) * (op.act == Act::kNone ? 1 : 2);
}

//: The split road's jobs for a pass over all images of `shape`.
inline void dealJobs(const Op& op, const Shape& shape, const Device& device, Plan& plan) {
    constexpr int64_t kMostImages = 8;  // of a job of `scale`; kImages of dense.cuh
    const int64_t chunks = chunksOf(op, shape);
    const int64_t parts = partsOf(op, shape, device);
    const int64_t images = std::clamp<int64_t>(shape.n * chunks / splitBlocks(device), 1, kMostImages);
    plan.pool.chunks = static_cast<int32_t>(chunks);
    plan.pool.atoms = static_cast<int32_t>(chunkOf(op, shape));
    plan.pool.parts = static_cast<int32_t>(parts);
    plan.pool.positions = static_cast<int32_t>(divideUp(divideUp(shape.hw, parts), 64) * 64);
    plan.pool.total = static_cast<int32_t>(shape.n * chunks * parts);
    plan.scale = plan.pool;
    plan.scale.images = static_cast<int32_t>(images);
    plan.scale.total = static_cast<int32_t>(divideUp(shape.n, images) * chunks * parts);
}

//: Road (a): three launches with the grid filled, over so many images that the second read of x comes from L2; again for the next images.
//: A map that L2 cannot hold is read from memory twice: its gates need all of it first.
inline Plan splitPlan(const Op& op, const Shape& shape, const Device& device) {
    constexpr int64_t kMostJobs = int64_t{1} << 30;
    const int64_t inL2 = l2Budget(Road::kSplit, device) / imageBytes(op, shape);
    const int64_t fit = std::min(inL2 < 1 ? shape.n : inL2, std::max<int64_t>(1, kMostJobs / (chunksOf(op, shape) * leastParts(shape))));
    Plan plan;
    plan.road = Road::kSplit;
    plan.images = divideUp(shape.n, divideUp(shape.n, fit));
    Shape pass = shape;
    pass.n = plan.images;
    dealJobs(op, pass, device, plan);
    return plan;
}

//: A block's shared memory on a road with one launch.
inline Rooms roomsFor(const Op& op, const Shape& shape, Road road, int64_t blocks) {
    const int64_t element = sizeOf(op.type);
    const bool keepsX = road == Road::kCluster;
    const int64_t threads = keepsX ? kClusterThreads : kPersistentThreads;
    const int64_t scratch = threads * 16 / element * 4;  // squeezeScratch: a Partial for each element of 16 bytes
    return roomsOf(geometryOf(op.layout, shape), columnsOf(op, shape), op.act == Act::kNone, blocks, keepsX ? element : 0, scratch);
}

//: Road (b): the fewest blocks whose shared memory holds an image, two such blocks a multiprocessor if that can be (one loads while
//: the other stores); more where images alone do not fill the device. Eight is the largest portable cluster.
inline std::optional<Plan> clusterPlan(const Op& op, const Shape& shape, const Device& device) {
    constexpr int64_t kReserved = 1024;  // bytes of each block, taken by the driver
    constexpr int64_t kMostClusters = int64_t{1} << 27;  // a grid has less than 2^31 blocks
    const int64_t atoms = divideUp(shape.c, atomOf(op.layout));
    const auto bytes = [&](int64_t blocks) { return roomsFor(op, shape, Road::kCluster, blocks).total; };
    const int64_t half = device.sharedPerMultiprocessor / 2 - kReserved;
    std::optional<Plan> plan;
    if (shape.hw > kMostPositions || shape.n > kMostClusters) return plan;
    for (const int64_t limit : {std::min(half, device.sharedPerBlock), device.sharedPerBlock}) {
        for (int32_t blocks = 1; blocks <= 8 && blocks <= atoms && !plan; blocks *= 2) {
            const bool more = blocks < 8 && 2 * blocks <= atoms && 2 * blocks * shape.n <= device.multiprocessors;
            if (more || bytes(blocks) > limit) continue;
            plan.emplace();
            plan->road = Road::kCluster;
            plan->blocks = blocks;
            plan->groups = static_cast<int32_t>(shape.n);
            plan->shared = static_cast<std::size_t>(bytes(blocks));
        }
    }
    return plan;
}

//: Road (c): as many images under way as fit into L2, in rounds of equal length; the multiprocessors dealt out to them. Between the two
//: reads of a place its own group and every other one touch less than two images each (one that ends, one that begins). Where L2 has
//: room for one image and not for two, its blocks wait for each other once more.
inline std::optional<Plan> persistentPlan(const Op& op, const Shape& shape, const Device& device) {
    const int64_t room = l2Budget(Road::kPersistent, device) / imageBytes(op, shape);
    if (room < 1 || shape.hw > kMostPositions) return std::nullopt;
    const int64_t fit = std::min<int64_t>({std::max<int64_t>(1, room / 2), device.multiprocessors, shape.n});
    Plan plan;
    plan.road = Road::kPersistent;
    plan.together = room < 2;
    plan.groups = static_cast<int32_t>(divideUp(shape.n, divideUp(shape.n, fit)));
    plan.blocks = static_cast<int32_t>(std::min(device.multiprocessors / int64_t{plan.groups}, divideUp(shape.c, atomOf(op.layout))));
    plan.shared = static_cast<std::size_t>(roomsFor(op, shape, Road::kPersistent, plan.blocks).total);
    if (static_cast<int64_t>(plan.shared) > device.sharedPerBlock) return std::nullopt;
    return plan;
}

//: Floats that blocks of the persistent road give each other, at most: two boards a group, of its blocks' partials or of all means.
inline int64_t mostBoard(const Op& op, const Shape& shape, const Device& device) {
    return 2 * int64_t{device.multiprocessors} * columnsOf(op, shape);
}

//: The road: the fewest reads of x from memory, then the fewest launches.
inline Plan choose(const Op& op, const Shape& shape, const Device& device) {
    const bool clusters = device.sm >= 90 && device.sm < 120;  // sm_120 has them, with too little shared memory to keep images
    // Both roads with one launch read the weights once per image (from L2), the split road once per eight. Late blocks of a network have
    // more weights than image: there that costs more than it saves, unless the device has nothing else to do.
    const int64_t weights = weightBytes(op, shape);
    const int64_t image = imageBytes(op, shape);
    if (clusters) {
        const std::optional<Plan> plan = clusterPlan(op, shape, device);
        if (plan && (weights <= 2 * image || plan->blocks * shape.n <= device.multiprocessors)) return *plan;
    }
    if (image * shape.n > l2Budget(Road::kSplit, device) && weights <= image) {
        // A quarter of the multiprocessors keeps enough bytes under way for the memory's bandwidth.
        const std::optional<Plan> plan = persistentPlan(op, shape, device);
        if (plan && 4 * plan->blocks * plan->groups >= device.multiprocessors) return *plan;
    }
    return splitPlan(op, shape, device);
}

}  // namespace se
