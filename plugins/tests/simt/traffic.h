// Bytes that device code reads and writes of the tensors that a test has named, and how far apart two reads of the same place are.
//
// The reuse distance of a read is the number of bytes of the same tensor, in sectors of 32 bytes, that were touched since the last read of
// its sector: with least-recently-used replacement it is a hit in a cache of more bytes than that. Only the tensor that `ages` is
// followed so (x): y and the residual pass through L2 once and are marked to be evicted first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scheduler.h"

namespace simt {

class Traffic {
  public:
    static constexpr uint64_t kSector = 32;

    //: Counts from here on; a tensor that is not named is not counted.
    void name(const std::string& name, const void* from, std::size_t bytes, bool ages) {
        ranges_.push_back({name, reinterpret_cast<uintptr_t>(from), bytes, 0, 0});
        if (!ages) return;
        follow_ = ranges_.size() - 1;
        last_.assign(bytes / kSector + 1, 0);
        marks_.assign(16 * last_.size() + 1024, 0);
        now_ = 0;
    }

    void reset() {
        ranges_.clear();
        follow_ = SIZE_MAX;
        furthest_ = fetched_ = launches_ = 0;
    }

    //: Reads further apart than that come from memory again.
    void cache(uint64_t bytes) { cache_ = bytes; }

    void launch() { ++launches_; }

    void read(const void* from, std::size_t bytes) {
        const uintptr_t at = reinterpret_cast<uintptr_t>(from);
        for (std::size_t i = 0; i < ranges_.size(); ++i) {
            Range& range = ranges_[i];
            if (at - range.from >= range.bytes) continue;
            range.read += bytes;
            if (i == follow_) touch((at - range.from) / kSector);
        }
    }

    void write(const void* to, std::size_t bytes) {
        for (Range& range : ranges_) {
            if (reinterpret_cast<uintptr_t>(to) - range.from < range.bytes) range.written += bytes;
        }
    }

    std::string json() const {
        std::string text = "{\"launches\": " + std::to_string(launches_) + ", \"furthest\": " + std::to_string(furthest_) +
                           ", \"fetched\": " + std::to_string(fetched_);
        for (const Range& range : ranges_) {
            text += ", \"" + range.name + "\": {\"read\": " + std::to_string(range.read);
            text += ", \"written\": " + std::to_string(range.written) + "}";
        }
        return text + "}";
    }

  private:
    struct Range {
        std::string name;
        uintptr_t from;
        uint64_t bytes;
        uint64_t read;
        uint64_t written;
    };

    //: marks_ is a Fenwick tree over time: a one where a sector was touched last.
    void mark(uint64_t time, int64_t change) {
        for (; time < marks_.size(); time += time & (~time + 1)) marks_[time] += change;
    }
    int64_t marksUpTo(uint64_t time) const {
        int64_t sum = 0;
        for (; time > 0; time -= time & (~time + 1)) sum += marks_[time];
        return sum;
    }

    void touch(uint64_t sector) {
        const uint64_t before = last_[sector];
        if (++now_ >= marks_.size()) fail("a tensor is read too often to be followed");
        if (before == 0) {
            fetched_ += kSector;
        } else {
            const auto between = static_cast<uint64_t>(marksUpTo(now_) - marksUpTo(before)) * kSector;
            furthest_ = std::max(furthest_, between);
            if (between >= cache_) fetched_ += kSector;
            mark(before, -1);
        }
        mark(now_, 1);
        last_[sector] = now_;
    }

    std::vector<Range> ranges_;
    std::size_t follow_ = SIZE_MAX;
    std::vector<uint64_t> last_;  // by sector: when it was touched last, counted from 1
    std::vector<int64_t> marks_;
    uint64_t now_ = 0;
    uint64_t furthest_ = 0;
    uint64_t fetched_ = 0;
    uint64_t cache_ = UINT64_MAX;
    uint64_t launches_ = 0;
};

inline Traffic& traffic() {
    static Traffic all;
    return all;
}

}  // namespace simt
