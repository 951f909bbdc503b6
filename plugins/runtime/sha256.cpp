#include "sha256.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

namespace se::runtime {
namespace {

using Words = std::array<uint32_t, 8>;

//: FIPS 180-4, 5.3.3.
constexpr Words kInitial{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

//: The first 32 bits of the fractions of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2). long double has the bits for it.
std::array<uint32_t, 64> roundConstants() {
    std::array<uint32_t, 64> made{};
    std::size_t count = 0;
    for (unsigned n = 2; count < made.size(); ++n) {
        bool prime = true;
        for (unsigned d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
        if (!prime) continue;
        long double const root = std::cbrt(static_cast<long double>(n));
        made[count++] = static_cast<uint32_t>((root - std::floor(root)) * 4294967296.0L);
    }
    return made;
}

uint32_t rotated(uint32_t value, int by) { return (value >> by) | (value << (32 - by)); }

void block(Words& state, unsigned char const* bytes) {
    static std::array<uint32_t, 64> const kRound = roundConstants();
    std::array<uint32_t, 64> w{};
    for (std::size_t t = 0; t < 16; ++t)
        w[t] = uint32_t{bytes[4 * t]} << 24 | uint32_t{bytes[4 * t + 1]} << 16 | uint32_t{bytes[4 * t + 2]} << 8 | bytes[4 * t + 3];
    for (std::size_t t = 16; t < 64; ++t) {
        uint32_t const s0 = rotated(w[t - 15], 7) ^ rotated(w[t - 15], 18) ^ (w[t - 15] >> 3);
        uint32_t const s1 = rotated(w[t - 2], 17) ^ rotated(w[t - 2], 19) ^ (w[t - 2] >> 10);
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = state;
    for (std::size_t t = 0; t < 64; ++t) {
        uint32_t const t1 = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) + kRound[t] + w[t];
        uint32_t const t2 = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    Words const added{a, b, c, d, e, f, g, h};
    for (std::size_t k = 0; k < state.size(); ++k) state[k] += added[k];
}

std::string hex(Words const& state) {
    std::string made;
    for (uint32_t word : state)
        for (int shift = 28; shift >= 0; shift -= 4) made.push_back("0123456789abcdef"[(word >> shift) & 15]);
    return made;
}

//: The last bytes, the bit 1, zeros, and the length in bits.
void finish(Words& state, std::vector<unsigned char> rest, uint64_t length) {
    rest.push_back(0x80);
    while (rest.size() % 64 != 56) rest.push_back(0);
    for (int shift = 56; shift >= 0; shift -= 8) rest.push_back(static_cast<unsigned char>((length * 8) >> shift));
    for (std::size_t at = 0; at < rest.size(); at += 64) block(state, rest.data() + at);
}

struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

Result<std::string> sha256(std::filesystem::path const& file) noexcept {
    return guarded([&]() -> Result<std::string> {
        std::unique_ptr<std::FILE, Closer> const opened(std::fopen(file.c_str(), "rb"));
        if (!opened) return Error{"cannot read " + file.string(), "put it there"};
        Words state = kInitial;
        uint64_t length = 0;
        std::vector<unsigned char> buffer(1 << 20);
        for (;;) {
            std::size_t const count = std::fread(buffer.data(), 1, buffer.size(), opened.get());
            length += count;
            std::size_t const whole = count / 64 * 64;
            for (std::size_t at = 0; at < whole; at += 64) block(state, buffer.data() + at);
            if (count == buffer.size()) continue;
            if (std::ferror(opened.get()) != 0) return Error{"cannot read " + file.string(), "check the disk"};
            finish(state, {buffer.data() + whole, buffer.data() + count}, length);
            return hex(state);
        }
    });
}

}  // namespace se::runtime
