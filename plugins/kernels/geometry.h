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
    int32_t atoms = 1;
    int32_t atom = 1;  // channels are dealt out to blocks in atoms: no 16-byte unit is shared by two blocks
};

//: Channels [first, first + count) belong to a block; `padded` counts the padding behind the last one too.
struct Slice {
    int32_t first;
    int32_t count;
    int32_t padded;
};

//: Atoms [from, to) as a slice.
SE_BOTH Slice sliceOf(const Geometry& g, int32_t from, int32_t to) {
    const int32_t padded = (to - from) * g.atom;
    const int32_t left = g.c - from * g.atom;
    return {from * g.atom, padded < left ? padded : left, padded};
}

//: The share of block `rank` of `blocks`.
SE_BOTH Slice shareOf(const Geometry& g, int32_t rank, int32_t blocks) {
    const int32_t each = g.atoms / blocks;
    const int32_t more = g.atoms % blocks;  // the first ones have one more
    const int32_t from = rank * each + (rank < more ? rank : more);
    return sliceOf(g, from, from + each + (rank < more ? 1 : 0));
}

//: The element (image, channel, 0); the channel is a multiple of the atom.
SE_BOTH int64_t elementOf(const Geometry& g, int64_t image, int32_t channel) {
    return image * g.image + int64_t{channel / g.width * g.width} * g.hw + channel % g.width;
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
    g.atoms = static_cast<int32_t>(padded / g.atom);
    g.c = static_cast<int32_t>(shape.c);
    g.hw = static_cast<int32_t>(shape.hw);
    g.image = padded * shape.hw;
    g.width = static_cast<int32_t>(layout == Layout::kHWC8 || layout == Layout::kHWC16 ? padded : g.atom);
    return g;
}

}  // namespace se
