// What `choose` decides and the kernels read.
#pragma once

#include <cstddef>
#include <cstdint>

namespace se {

constexpr int kSplitThreads = 256;
constexpr int kResident = 2;         // blocks of 256 threads a multiprocessor can hold at least: up to 128 registers, none spilled
constexpr int kClusterThreads = 256;     // two blocks a multiprocessor, if their shared memory lets them: one loads, the other stores
constexpr int kPersistentThreads = 512;  // one block a multiprocessor

enum class Road : int32_t { kSplit, kCluster, kPersistent };

//: The split road's pieces: a job is `atoms` atoms of channels x one of `parts` parts of the positions x `images` images.
struct Jobs {
    int32_t chunks = 1;  // of channels
    int32_t atoms = 1;   // in a chunk
    int32_t parts = 1;
    int32_t positions = 1;  // in a part, a multiple of 64: parts of an aligned row are aligned; the last ones may be short or empty
    int32_t images = 1;
    int32_t total = 1;
};

struct Plan {
    Road road = Road::kSplit;
    int64_t images = 1;  // split: in one pass of the three launches
    Jobs pool;           // split, of such a pass
    Jobs scale;
    bool together = false;   // persistent: blocks of a group begin the next image together
    int32_t blocks = 1;  // cluster, persistent: blocks that share an image
    int32_t groups = 1;  // persistent: images under way at once; cluster: images
    std::size_t shared = 0;  // cluster, persistent: bytes a block
};

}  // namespace se
