// A case file: the struct Header, little-endian, then the arrays x, residual, w1, b1, w2, b2, slope: those that the op has.
// tests/plugins/cases.py writes it.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include "roads.h"

namespace cases {

struct Header {
    int32_t type, layout, act, gate, skip, epilogue;
    int32_t road;  // of enum Road; -1: the chooser's
    int32_t sm, multiprocessors, counted;
    int64_t n, c, r, hw;
    int64_t seed;
    int64_t onlyLast;  // > 0: only the last images are given and computed (CPU), of a tensor that is too large to be
    int64_t sharedPerBlock, sharedPerMultiprocessor, l2Bytes;
    float alpha, beta, leak, xScale, residualScale, yScale;
};

[[noreturn]] inline void stop(const std::string& message) {
    std::fprintf(stderr, "%s\n", message.c_str());
    std::exit(2);
}

//: Memory of exactly that many bytes, so that AddressSanitizer sees the first one behind.
struct Buffer {
    explicit Buffer(int64_t size) : bytes(static_cast<std::size_t>(size)) {
        void* p = nullptr;
        if (posix_memalign(&p, 256, bytes) != 0) stop("no memory");
        memory.reset(static_cast<char*>(p));
    }
    struct Free {
        void operator()(char* p) const { std::free(p); }
    };
    std::unique_ptr<char, Free> memory;
    std::size_t bytes;
};

struct Case {
    Header header;
    se::Op op;
    se::Shape shape;
    se::Device device;
    int64_t map;  // bytes of x in the file: of all images, or of the last header.onlyLast ones
    // The file's arrays, in its order; empty where the op has none.
    Buffer x, residual, w1, b1, w2, b2, slope;
};

inline Buffer take(std::ifstream& file, int64_t bytes) {
    Buffer buffer(bytes);
    if (!file.read(buffer.memory.get(), bytes)) stop("a case file ends early");
    return buffer;
}

inline se::Op opOf(const Header& h) {
    se::Op op;
    op.type = static_cast<se::Type>(h.type);
    op.layout = static_cast<se::Layout>(h.layout);
    op.act = static_cast<se::Act>(h.act);
    op.gate = static_cast<se::Gate>(h.gate);
    op.skip = static_cast<se::Skip>(h.skip);
    op.epilogue = static_cast<se::Epilogue>(h.epilogue);
    op.alpha = h.alpha;
    op.beta = h.beta;
    op.leak = h.leak;
    op.xScale = h.xScale;
    op.residualScale = h.residualScale;
    op.yScale = h.yScale;
    return op;
}

inline Case readCase(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    Header h;
    if (!file.read(reinterpret_cast<char*>(&h), sizeof h)) stop("no case in " + path);
    const se::Op op = opOf(h);
    const se::Shape shape{h.n, h.c, h.r, h.hw};
    const se::Device device{h.sm, h.multiprocessors, h.sharedPerBlock, h.sharedPerMultiprocessor, h.l2Bytes};
    const int64_t map = se::imageBytes(op, shape) * (h.onlyLast > 0 ? h.onlyLast : h.n);
    const bool two = op.act != se::Act::kNone;
    // A braced list is read from left to right, as the file is.
    return Case{h,
                op,
                shape,
                device,
                map,
                take(file, map),
                take(file, op.skip == se::Skip::kAdd ? map : 0),
                take(file, two ? 4 * h.r * h.c : 0),
                take(file, two ? 4 * h.r : 0),
                take(file, 4 * se::columnsOf(op, shape) * h.c),
                take(file, 4 * h.c),
                take(file, op.act == se::Act::kPRelu ? 4 * h.r : 0)};
}

//: The plan on the road that the case asks for.
inline se::Plan planOf(const Case& c, const se::Device& device) {
    if (c.header.road < 0) return se::choose(c.op, c.shape, device);
    const auto road = static_cast<se::Road>(c.header.road);
    if (road == se::Road::kSplit) return se::splitPlan(c.op, c.shape, device);
    const auto plan = road == se::Road::kCluster ? se::clusterPlan(c.op, c.shape, device) : se::persistentPlan(c.op, c.shape, device);
    if (!plan) stop("a case that its road cannot take");
    return *plan;
}

inline void writeResult(const std::string& path, const char* y, int64_t bytes) {
    std::ofstream(path + ".y", std::ios::binary).write(y, bytes);
}

}  // namespace cases
