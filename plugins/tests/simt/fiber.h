// A fiber: a context and a stack. Stacks are mapped once, with a page behind each that must not be touched, and used again.
#pragma once

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace simt {

class Stacks {
  public:
    static constexpr std::size_t kBytes = 64 * 1024;

    void* take() {
        if (!free_.empty()) {
            void* stack = free_.back();
            free_.pop_back();
            return stack;
        }
        constexpr std::size_t kPage = 4096;
        void* mapped = mmap(nullptr, kBytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED || mprotect(mapped, kPage, PROT_NONE) != 0) {
            std::perror("simt: no memory for a fiber's stack");
            std::abort();
        }
        return static_cast<char*>(mapped) + kPage;
    }
    void give(void* stack) {
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(stack, kBytes);  // the frames that were never left
#endif
        free_.push_back(stack);
    }

  private:
    std::vector<void*> free_;
};

//: Switching between the scheduler's context and fibers.
class Context {
  public:
    //: Prepares `entry` on `stack`; `main` is where it returns to.
    void prepare(void* stack, void (*entry)(), Context& main) {
        getcontext(&context_);
        context_.uc_stack.ss_sp = stack;
        context_.uc_stack.ss_size = Stacks::kBytes;
        context_.uc_link = &main.context_;
        started_ = false;
        stack_ = stack;
        bytes_ = Stacks::kBytes;
        makecontext(&context_, entry, 0);
    }

    //: From the context that runs to `to`; returns when somebody switches back. `last`: this one never runs again.
    void switchTo(Context& to, bool last = false) {
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_start_switch_fiber(last ? nullptr : &fake_, to.stack_, to.bytes_);
        swapcontext(&context_, &to.context_);
        __sanitizer_finish_switch_fiber(fake_, nullptr, nullptr);
#else
        // swapcontext asks the kernel for the signal mask twice; a jump does not, and is ten times as fast.
        (void)last;
        if (_setjmp(jump_) != 0) return;
        if (to.started_) _longjmp(to.jump_, 1);
        to.started_ = true;
        setcontext(&to.context_);
#endif
    }

    //: The first thing that a fiber does: learns where the scheduler's stack is.
    void arrived(Context& from) {
        from.started_ = true;
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(fake_, &from.stack_, &from.bytes_);
#endif
    }

  private:
    ucontext_t context_ = {};
    jmp_buf jump_ = {};
    bool started_ = false;
    const void* stack_ = nullptr;
    std::size_t bytes_ = 0;
    void* fake_ = nullptr;
};

}  // namespace simt
