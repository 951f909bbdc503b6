// What the kernels call, by CUDA's names where CUDA has one, else by those of plugins/kernels/cuda.cuh.
#pragma once

#include <cmath>
#include <cstdint>
#include <set>

#include "cuda_runtime_api.h"
#include "grid.h"
#include "traffic.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (::simt::Grid::current().thread)
#define blockIdx (::simt::Grid::current().blockIndex)
#define blockDim (::simt::Grid::current().blockSize)
#define gridDim (::simt::Grid::current().gridSize)

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

namespace simt {

//: The barriers that device code has reached, as "file.cuh:12".
inline std::set<std::string>& reached() {
    static std::set<std::string> all;
    return all;
}

//: Notes the barrier; true where it is the one that a mutation leaves out.
inline bool skips(const Place& place) {
    const std::string path = place.file;
    const std::string name = path.substr(path.rfind('/') + 1) + ":" + std::to_string(place.line);
    reached().insert(name);
    return name == settings().skipped;
}

}  // namespace simt

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    const simt::Place place{"__syncthreads", file, line};
    if (!simt::skips(place)) simt::Grid::current().block->barrier.arrive(place);
}

inline void __syncwarp(unsigned mask = 0xFFFFFFFFU, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    const simt::Place place{"__syncwarp", file, line};
    if (mask != 0xFFFFFFFFU) simt::fail("a part of a warp: " + simt::describe(place));
    if (!simt::skips(place)) simt::Grid::current().warp().barrier.arrive(place);
}

namespace simt {

//: Every lane gives a value and takes that of lane `from(lane)`.
template <typename T, typename From>
T exchange(unsigned mask, T value, const Place& place, From from) {
    static_assert(sizeof(T) <= 8);
    if (mask != 0xFFFFFFFFU) fail("a part of a warp: " + describe(place));
    Thread& thread = Grid::current();
    Warp& warp = thread.warp();
    auto& slots = warp.slots[warp.barrier.passed() % 2];  // a lane can be one exchange ahead, not two
    std::memcpy(&slots[thread.lane()], &value, sizeof value);
    warp.barrier.arrive(place);
    T taken;
    std::memcpy(&taken, &slots[from(thread.lane())], sizeof taken);
    return taken;
}

}  // namespace simt

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int with, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return simt::exchange(mask, value, {"__shfl_xor_sync", file, line}, [&](int lane) { return lane ^ with; });
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return simt::exchange(mask, value, {"__shfl_sync", file, line}, [&](int) { return lane % simt::kWarp; });
}

inline unsigned __ballot_sync(unsigned mask, bool vote, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    unsigned votes = 0;
    for (int lane = 0; lane < simt::kWarp; ++lane) {
        const int their = simt::exchange(mask, static_cast<int>(vote), {"__ballot_sync", file, line}, [&](int) { return lane; });
        votes |= static_cast<unsigned>(their) << lane;
    }
    return votes;
}

inline bool __any_sync(unsigned mask, bool vote, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return __ballot_sync(mask, vote, file, line) != 0;
}

inline bool __all_sync(unsigned mask, bool vote, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return __ballot_sync(mask, vote, file, line) == 0xFFFFFFFFU;
}

inline unsigned atomicAdd(unsigned* to, unsigned value) {
    const unsigned before = *to;
    *to += value;
    return before;
}

//: sum + the four products of the bytes of a and b.
inline int __dp4a(int a, int b, int sum) {
    for (int shift = 0; shift < 32; shift += 8) sum += static_cast<int8_t>(a >> shift) * static_cast<int8_t>(b >> shift);
    return sum;
}

inline float __fdividef(float a, float b) { return a / b; }
inline void __threadfence() {}
inline void __stcs(uint4* to, const uint4& value) { *to = value; }
inline uint4 __ldcs(const uint4* from) { return *from; }

inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
    std::memset(to, value, bytes);
    return cudaSuccess;
}

inline cudaError_t cudaGetLastError() { return cudaSuccess; }

namespace se {

using std::max;
using std::min;

inline unsigned char* blockShared() { return simt::Grid::current().block->memory.get(); }

inline void clusterSync(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    const simt::Place place{"clusterSync", file, line};
    if (!simt::skips(place)) simt::Grid::current().block->cluster->barrier.arrive(place);
}

template <typename T>
const T* clusterPeer(const T* pointer, int rank) {
    const simt::Block& own = *simt::Grid::current().block;
    const auto offset = reinterpret_cast<const unsigned char*>(pointer) - own.memory.get();
    if (offset < 0 || static_cast<std::size_t>(offset) >= own.bytes) simt::fail("clusterPeer of what is not shared memory");
    return reinterpret_cast<const T*>(own.cluster->blocks.at(static_cast<std::size_t>(rank))->memory.get() + offset);
}

inline void waitFor(const unsigned* counter, unsigned target, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    const simt::Place place{"waitFor", file, line};
    if (simt::skips(place)) return;
    simt::Scheduler::active().waitUntil(place, [=] { return static_cast<int>(*counter - target) >= 0; });
}

inline float readFresh(const float* pointer) { return *pointer; }

template <typename T>
void countRead(const T* from, int elements = 1) {
    simt::traffic().read(from, static_cast<std::size_t>(elements) * sizeof(T));
}
template <typename T>
void countWrite(const T* to, int elements = 1) {
    simt::traffic().write(to, static_cast<std::size_t>(elements) * sizeof(T));
}

template <typename... Parameters, typename... Arguments>
cudaError_t submit(void (*kernel)(Parameters...), const Launch& how, cudaStream_t, const Arguments&... arguments) {
    const bool together = how.cooperative || how.cluster > 1;
    if (together && simt::settings().noRoom != 0) return static_cast<cudaError_t>(simt::settings().noRoom);
    simt::traffic().launch();
    simt::Grid::run(how, [&] { kernel(Parameters(arguments)...); });
    return cudaSuccess;
}

}  // namespace se
