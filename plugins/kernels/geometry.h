// Where an element lies, and which channels a block owns.
//
//   element (n, c, p) of a tensor is at  n * image + (c / width) * hw * width + p * width + c % width
//
// with width 1 in kLinear (a channel is a row of hw), the padded number of channels in kHWC8 and kHWC16, 32 in kCHW32.
#pragma once

#include <cuda_runtime_api.h>

#include "squeeze_excite.h"

#ifdef __CUDACC__
#define SE_BOTH __host__ __device__ __forceinline__
#else
#define SE_BOTH inline
#endif

namespace se {

SE_BOTH int64_t divideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Geometry {
    int64_t n = 0;
    int64_t image = 0;  // elements of one image, padding included
    int32_t c = 0;
    int32_t hw = 0;
    int32_t width = 1;
    int32_t atom = 1;  // channels are dealt out to blocks in atoms: no 16-byte unit is shared by two blocks
};

//: Channels [first, first + count) belong to a block; `padded` counts the padding behind the last one too.
struct Slice {
    int32_t first;
    int32_t count;
    int32_t padded;
};

//: Atoms [from, to) as a slice.
SE_BOTH Slice sliceOf(const Geometry& g, int64_t from, int64_t to) {
    const int64_t first = from * g.atom;
    const int64_t end = to * g.atom < g.c ? to * g.atom : g.c;
    return {static_cast<int32_t>(first), static_cast<int32_t>(end - first), static_cast<int32_t>((to - from) * g.atom)};
}

//: The share of block `rank` of `blocks`.
SE_BOTH Slice shareOf(const Geometry& g, int64_t rank, int64_t blocks) {
    const int64_t atoms = divideUp(g.c, g.atom);
    return sliceOf(g, atoms * rank / blocks, atoms * (rank + 1) / blocks);
}

//: Where part `part` of `parts` of a count begins: at multiples of 64, so that parts of an aligned row are aligned. Some may be empty.
SE_BOTH int64_t partBegin(int64_t count, int64_t part, int64_t parts) {
    return part == parts ? count : count * part / parts / 64 * 64;
}

//: The element (image, channel, 0); the channel is a multiple of the atom.
SE_BOTH int64_t elementOf(const Geometry& g, int64_t image, int64_t channel) {
    return image * g.image + channel / g.width * g.hw * g.width + channel % g.width;
}

inline int32_t atomOf(Layout layout) {
    switch (layout) {
        case Layout::kLinear: return 1;
        case Layout::kHWC8: return 8;
        case Layout::kHWC16: return 16;
        case Layout::kCHW32: return 32;
    }
    return 1;
}

//: Needs a shape that `launch` lets pass: c and hw below 2^31.
inline Geometry geometryOf(Layout layout, const Shape& shape) {
    Geometry g;
    g.atom = atomOf(layout);
    const int64_t padded = divideUp(shape.c, g.atom) * g.atom;
    g.n = shape.n;
    g.c = static_cast<int32_t>(shape.c);
    g.hw = static_cast<int32_t>(shape.hw);
    g.image = padded * shape.hw;
    g.width = static_cast<int32_t>(layout == Layout::kHWC8 || layout == Layout::kHWC16 ? padded : g.atom);
    return g;
}

}  // namespace se
