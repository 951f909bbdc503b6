// Reading and writing elements: 16 bytes at a time, as float inside, rounded once on the way out.
//
//   float(x), half: to nearest even, int8: clip(rint(v), -128, 127)   (se_deploy/op.py's `quantize`, its scale applied before)
#pragma once

#include "cuda.cuh"

namespace se {

//: `Partial` is what one thread adds up in, `Sum` what threads and blocks do. INT8 sums are exact: a thread sums at most 2^23 values.
template <typename T>
struct Kind {
    using Partial = float;
    using Sum = float;
};
template <>
struct Kind<int8_t> {
    using Partial = int32_t;
    using Sum = long long;
};
constexpr int64_t kMostPositions = int64_t{1} << 23;

//: Elements in 16 bytes.
template <typename T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

//: 16 bytes. Copied as words: as an array of int8 they would take sixteen registers.
template <typename T>
union alignas(16) Vector {
    uint4 words;
    T at[kVector<T>];
};

__device__ __forceinline__ float toFloat(float v) { return v; }
__device__ __forceinline__ float toFloat(__half v) { return __half2float(v); }
__device__ __forceinline__ float toFloat(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float toFloat(int8_t v) { return static_cast<float>(v); }

// What a thread sums: the value itself, the integer for int8.
template <typename T>
__device__ __forceinline__ float toPartial(T v) {
    return toFloat(v);
}
__device__ __forceinline__ int32_t toPartial(int8_t v) { return v; }

__device__ __forceinline__ void roundTo(float v, float& out) { out = v; }
__device__ __forceinline__ void roundTo(float v, __half& out) { out = __float2half_rn(v); }
__device__ __forceinline__ void roundTo(float v, __nv_bfloat16& out) { out = __float2bfloat16_rn(v); }
__device__ __forceinline__ void roundTo(float v, int8_t& out) {
    v = rintf(v);
    out = static_cast<int8_t>(v >= -128.0F ? (v <= 127.0F ? v : 127.0F) : -128.0F);
}

template <typename T>
__device__ __forceinline__ typename Kind<T>::Partial sumOf(const Vector<T>& v) {
    typename Kind<T>::Partial sum = 0;
#pragma unroll
    for (int i = 0; i < kVector<T>; ++i) sum += toPartial(v.at[i]);
    return sum;
}

//: Four bytes an instruction; byte by byte, sixteen bytes would take as many registers.
__device__ __forceinline__ int32_t sumOf(const Vector<int8_t>& v) {
    constexpr int kOnes = 0x01010101;
    const int32_t low = __dp4a(static_cast<int>(v.words.x), kOnes, __dp4a(static_cast<int>(v.words.y), kOnes, 0));
    return __dp4a(static_cast<int>(v.words.z), kOnes, __dp4a(static_cast<int>(v.words.w), kOnes, low));
}

//: 16 bytes from an aligned address. `streamed`: not worth keeping in L2 (evicted first).
template <typename T>
__device__ __forceinline__ Vector<T> load(const T* from, bool streamed = false) {
    countRead(from, kVector<T>);
    const auto* words = reinterpret_cast<const uint4*>(from);
    Vector<T> v;
    v.words = streamed ? __ldcs(words) : *words;
    return v;
}

//: 16 bytes to an aligned address.
template <typename T>
__device__ __forceinline__ void store(T* to, const Vector<T>& v, bool streamed) {
    countWrite(to, kVector<T>);
    if (streamed) {
        __stcs(reinterpret_cast<uint4*>(to), v.words);
    } else {
        *reinterpret_cast<uint4*>(to) = v.words;
    }
}

template <typename T>
__device__ __forceinline__ T loadOne(const T* from) {
    countRead(from);
    return *from;
}

template <typename T>
__device__ __forceinline__ void storeOne(T* to, T v) {
    countWrite(to);
    *to = v;
}

//: Elements from `p` up to the next 16-byte boundary.
template <typename T>
__device__ __forceinline__ int untilAligned(const T* p) {
    return static_cast<int>((16 - reinterpret_cast<uintptr_t>(p) % 16) % 16 / sizeof(T));
}

//: Sum over aligned groups of `width` lanes (a power of two up to 32), the same in every lane. All lanes of the warp call it.
template <typename T>
__device__ __forceinline__ T sumOverLanes(T v, int width) {
    for (int step = width / 2; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffU, v, step);
    return v;
}

//: The least power of two that is >= v.
__device__ __forceinline__ int powerOfTwo(int v) {
    int power = 1;
    while (power < v) power *= 2;
    return power;
}

}  // namespace se
