// Which fiber runs next. All of it is one CPU thread.
//
// The seed decides, seed % 3 the kind of order:
//   0  fair: who is ready first runs first, give or take a random delay; blocks advance together, as on a device
//   1  ranked: blocks, warps and lanes have fixed random ranks, so one runs as far ahead of another as the barriers let it
//   2  random: who becomes ready gets a random rank until it runs; an unlucky thread waits long
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <string>

#include "fiber.h"

namespace simt {

//: Where device code waits; taken from the caller by default arguments.
struct Place {
    const char* what = "";
    const char* file = "";
    int line = 0;
};

[[noreturn]] inline void fail(const std::string& message) {
    std::fprintf(stderr, "simt: %s\n", message.c_str());
    std::fflush(stderr);
    std::abort();
}

inline std::string describe(const Place& p) { return std::string(p.what) + " at " + p.file + ":" + std::to_string(p.line); }

struct Fiber {
    int index = 0;
    Context context;
    void* stack = nullptr;
    uint64_t rank = 0;  // where the order is ranked
    bool done = false;
    bool waits = false;
    Place place;
    std::function<bool()> until;  // a counter that the fiber polls, if it does
};

class Scheduler {
  public:
    explicit Scheduler(uint64_t seed) : random(seed), order_(static_cast<Order>(seed % 3)) {}

    std::mt19937_64 random;

    Fiber& current() { return *current_; }

    //: Runs `body(i)` on fibers 0 .. count - 1 until all are done. `rank(i)` orders them where the order is ranked.
    void run(int count, const std::function<void(int)>& body, const std::function<uint64_t(int)>& rank,
             const std::function<void(int)>& onDone) {
        fibers_ = std::vector<Fiber>(static_cast<std::size_t>(count));
        body_ = &body;
        active_ = this;
        for (int i = 0; i < count; ++i) {
            fibers_[i].index = i;
            fibers_[i].rank = rank(i);
            fibers_[i].stack = stacks().take();
            fibers_[i].context.prepare(fibers_[i].stack, &Scheduler::enter, main_);
            ready(fibers_[i]);
        }
        for (int left = count; left > 0;) {
            current_ = next();
            main_.switchTo(current_->context);
            if (current_->done) {
                stacks().give(current_->stack);
                onDone(current_->index);
                --left;
            }
        }
    }

    void ready(Fiber& fiber) {
        uint64_t rank = fiber.rank;
        if (order_ == Order::kRandom) rank = random();
        if (order_ == Order::kFair) rank = UINT64_MAX - (++time_ + random() % fibers_.size());
        queue_.push({rank, &fiber});
    }

    //: The running fiber waits until somebody calls `ready` on it.
    void wait(const Place& place) {
        current_->waits = true;
        current_->place = place;
        current_->context.switchTo(main_);
    }

    //: The running fiber waits until `until()` is true.
    void waitUntil(const Place& place, std::function<bool()> until) {
        current_->until = std::move(until);
        polling_.push_back(current_);
        wait(place);
    }

    static Scheduler& active() { return *active_; }

  private:
    using Entry = std::pair<uint64_t, Fiber*>;

    static void enter() {
        Scheduler& self = *active_;
        Fiber& fiber = *self.current_;
        fiber.context.arrived(self.main_);
        (*self.body_)(fiber.index);
        fiber.done = true;
        fiber.context.switchTo(self.main_, true);
    }

    Fiber* next() {
        poll();
        if (queue_.empty()) deadlock();
        Fiber* fiber = queue_.top().second;
        queue_.pop();
        fiber->waits = false;
        return fiber;
    }

    void poll() {
        for (std::size_t i = 0; i < polling_.size();) {
            if (polling_[i]->until()) {
                ready(*polling_[i]);
                polling_[i] = polling_.back();
                polling_.pop_back();
            } else {
                ++i;
            }
        }
    }

    [[noreturn]] void deadlock() {
        std::string message = "deadlock:";
        std::vector<std::string> seen;
        for (const Fiber& fiber : fibers_) {
            if (!fiber.waits) continue;
            const std::string where = describe(fiber.place);
            if (std::find(seen.begin(), seen.end(), where) != seen.end()) continue;
            seen.push_back(where);
            message += (seen.size() > 1 ? " and " : " threads wait in ") + where;
        }
        fail(message);
    }

    static Stacks& stacks() {
        static Stacks all;
        return all;
    }

    enum class Order { kFair, kRanked, kRandom };
    Order order_;
    uint64_t time_ = 0;
    Context main_;
    std::vector<Fiber> fibers_;
    const std::function<void(int)>* body_ = nullptr;
    Fiber* current_ = nullptr;
    std::priority_queue<Entry> queue_;
    std::vector<Fiber*> polling_;
    static inline Scheduler* active_ = nullptr;
};

//: Threads wait until `expected` of them are here.
class Barrier {
  public:
    explicit Barrier(int expected = 0) : expected_(expected) {}

    int passed() const { return passed_; }

    void arrive(const Place& place) {
        if (waiting_.empty()) {
            place_ = place;
        } else if (place_.line != place.line || std::string(place_.file) != place.file) {
            fail("threads of a group wait in different barriers: " + describe(place_) + " and " + describe(place));
        }
        Scheduler& scheduler = Scheduler::active();
        if (static_cast<int>(waiting_.size()) + 1 < expected_) {
            waiting_.push_back(&scheduler.current());
            scheduler.wait(place);
            return;
        }
        ++passed_;
        for (Fiber* fiber : waiting_) scheduler.ready(*fiber);
        waiting_.clear();
        scheduler.ready(scheduler.current());  // the last one has no right to go on first
        scheduler.wait(place);
    }

  private:
    int expected_;
    int passed_ = 0;
    Place place_;
    std::vector<Fiber*> waiting_;
};

}  // namespace simt
