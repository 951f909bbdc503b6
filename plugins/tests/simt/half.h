// __half and __nv_bfloat16 in software: round to nearest even, subnormals, infinities and NaNs as on the device.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace simt {

inline uint32_t bitsOf(float v) {
    uint32_t bits;
    std::memcpy(&bits, &v, sizeof bits);
    return bits;
}

inline float floatOf(uint32_t bits) {
    float v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}

//: v / 2^drop, to nearest even; 0 < drop < 32.
inline uint32_t dropBits(uint32_t v, int drop) {
    const uint32_t half = 1U << (drop - 1);
    const uint32_t rest = v & ((1U << drop) - 1);
    const uint32_t kept = v >> drop;
    return kept + (rest > half || (rest == half && (kept & 1U) != 0) ? 1 : 0);
}

inline uint16_t toHalf(float v) {
    const uint32_t bits = bitsOf(v);
    const uint32_t sign = bits >> 16 & 0x8000U;
    const uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) return 0x7FFF;                                     // NaN, as the device writes it
    if (magnitude >= 0x47800000U) return static_cast<uint16_t>(sign | 0x7C00U);     // 65536 and up
    if (magnitude < 0x33000000U) return static_cast<uint16_t>(sign);                // below half of the least subnormal
    const int exponent = static_cast<int>(magnitude >> 23) - 127;
    if (exponent < -14) {
        const uint32_t mantissa = (magnitude & 0x7FFFFFU) | 0x800000U;
        return static_cast<uint16_t>(sign | dropBits(mantissa, -1 - exponent));
    }
    return static_cast<uint16_t>(sign | dropBits(magnitude - (112U << 23), 13));    // a carry may well make it infinite
}

inline float fromHalf(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000U) << 16;
    const uint32_t exponent = h >> 10 & 0x1FU;
    const uint32_t mantissa = h & 0x3FFU;
    if (exponent == 0) return floatOf(sign | bitsOf(std::ldexp(static_cast<float>(mantissa), -24)));
    if (exponent == 31) return floatOf(sign | 0x7F800000U | mantissa << 13);
    return floatOf(sign | (exponent + 112) << 23 | mantissa << 13);
}

inline uint16_t toBfloat(float v) {
    const uint32_t bits = bitsOf(v);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return 0x7FFF;
    return static_cast<uint16_t>(dropBits(bits, 16));
}

inline float fromBfloat(uint16_t h) { return floatOf(static_cast<uint32_t>(h) << 16); }

}  // namespace simt

struct __half {
    uint16_t bits;
};
struct __nv_bfloat16 {
    uint16_t bits;
};

inline float __half2float(__half v) { return simt::fromHalf(v.bits); }
inline __half __float2half_rn(float v) { return {simt::toHalf(v)}; }
inline float __bfloat162float(__nv_bfloat16 v) { return simt::fromBfloat(v.bits); }
inline __nv_bfloat16 __float2bfloat16_rn(float v) { return {simt::toBfloat(v)}; }
