// A launch: blocks with their warps and shared memory, one after the other, a cluster's or a cooperative grid's blocks together.
#pragma once

#include <cstring>
#include <numeric>

#include "scheduler.h"

namespace simt {

//: What a test sets before a launch.
struct Settings {
    uint64_t seed = 0;
    std::size_t sharedPerBlock = 227 * 1024;  // more is a failure, as on the device
    std::string skipped;                      // file.cuh:12 of a barrier that is left out (the mutations)
    int noRoom = 0;                           // what launches of blocks that must be resident together return, if not 0
    int64_t onlyLast = 0;                     // > 0: run only that many of the last blocks (for tensors too large to compute)
};

inline Settings& settings() {
    static Settings all;
    return all;
}

constexpr int kWarp = 32;
constexpr uint16_t kPoison = 0xFFC1;  // a NaN as half, bfloat16 and, twice, as float; a large number as an integer

struct Warp {
    Barrier barrier{kWarp};
    uint64_t slots[2][kWarp] = {};
};

struct Cluster;

struct Block {
    Block(unsigned number, int threads, std::size_t shared) : index(number), barrier(threads), warps(threads / kWarp), live(threads) {
        bytes = shared;
        // Exactly so many bytes: AddressSanitizer sees the first one behind.
        memory.reset(static_cast<unsigned char*>(std::aligned_alloc(16, (shared + 15) / 16 * 16)));
        poison();
    }

    void poison() {
        for (std::size_t i = 0; i + 1 < bytes; i += 2) std::memcpy(memory.get() + i, &kPoison, 2);
    }

    struct Free {
        void operator()(unsigned char* p) const { std::free(p); }
    };

    unsigned index;
    Barrier barrier;
    std::vector<Warp> warps;
    int live;
    std::size_t bytes = 0;
    std::unique_ptr<unsigned char, Free> memory;
    Cluster* cluster = nullptr;
};

struct Cluster {
    explicit Cluster(int threads) : barrier(threads) {}
    Barrier barrier;
    std::vector<Block*> blocks;
};

struct Index {
    unsigned x = 0;
};

struct Thread {
    Index thread;
    Block* block = nullptr;
    Index blockIndex;
    Index blockSize;
    Index gridSize;

    Warp& warp() const { return block->warps[thread.x / kWarp]; }
    int lane() const { return static_cast<int>(thread.x % kWarp); }
};

class Grid {
  public:
    static Thread& current() { return active_->threads_[static_cast<std::size_t>(Scheduler::active().current().index)]; }

    //: Runs a kernel's body on every thread of the launch.
    template <typename How>
    static void run(const How& how, const std::function<void()>& body) {
        const int threads = how.threads;
        if (threads % kWarp != 0 || threads < 1 || threads > 1024) fail("a block of " + std::to_string(threads) + " threads");
        if (how.shared > settings().sharedPerBlock) fail("a block of " + std::to_string(how.shared) + " bytes of shared memory");
        if (how.blocks < 1 || how.blocks % how.cluster != 0) fail("a grid of " + std::to_string(how.blocks) + " blocks");
        const int64_t together = how.cooperative ? how.blocks : how.cluster;
        const int64_t units = how.blocks / together;
        const int64_t first = settings().onlyLast > 0 ? std::max<int64_t>(0, units - settings().onlyLast) : 0;
        std::vector<int64_t> order(static_cast<std::size_t>(units - first));
        std::iota(order.begin(), order.end(), first);
        std::mt19937_64 random(settings().seed);
        std::shuffle(order.begin(), order.end(), random);
        for (const int64_t unit : order) Grid(how.threads, how.shared, how.cluster, how.blocks).runBlocks(unit * together, together, body);
    }

  private:
    Grid(int threads, std::size_t shared, int cluster, int64_t all) : perBlock_(threads), shared_(shared), cluster_(cluster), all_(all) {}

    void runBlocks(int64_t first, int64_t count, const std::function<void()>& body) {
        active_ = this;
        for (int64_t i = 0; i < count; ++i) add(static_cast<unsigned>(first + i), i);
        Scheduler scheduler(settings().seed + static_cast<uint64_t>(first) * 3);
        const auto rank = [&](int i) {
            const Thread& t = threads_[static_cast<std::size_t>(i)];
            return mix(t.block->index) << 40 | mix(1000003U + t.thread.x / kWarp) << 20 | mix(2000003U + t.thread.x);
        };
        const auto done = [&](int i) {
            Block& block = *threads_[static_cast<std::size_t>(i)].block;
            if (--block.live == 0) block.poison();  // a peer that still reads it must notice
        };
        scheduler.run(static_cast<int>(threads_.size()), [&](int) { body(); }, rank, done);
    }

    void add(unsigned number, int64_t position) {
        if (position % cluster_ == 0) clusters_.push_back(std::make_unique<Cluster>(perBlock_ * cluster_));
        blocks_.push_back(std::make_unique<Block>(number, perBlock_, shared_));
        Block& block = *blocks_.back();
        block.cluster = clusters_.back().get();
        block.cluster->blocks.push_back(&block);
        for (int t = 0; t < perBlock_; ++t) {
            const auto index = [](int64_t i) { return Index{static_cast<unsigned>(i)}; };
            threads_.push_back({index(t), &block, index(number), index(perBlock_), index(all_)});
        }
    }

    //: 20 bits that depend on the seed.
    static uint64_t mix(uint64_t v) {
        v = (v + settings().seed * 0x9E3779B97F4A7C15ULL + 1) * 0xBF58476D1CE4E5B9ULL;
        return (v ^ v >> 31) * 0x94D049BB133111EBULL >> 44;
    }

    int perBlock_;
    std::size_t shared_;
    int cluster_;
    int64_t all_;
    std::vector<std::unique_ptr<Block>> blocks_;
    std::vector<std::unique_ptr<Cluster>> clusters_;
    std::vector<Thread> threads_;
    static inline Grid* active_ = nullptr;
};

}  // namespace simt
