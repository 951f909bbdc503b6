// Which piece of the tensor a job of the split road is.
#pragma once

#include "geometry.h"
#include "plan.h"

namespace se {

struct Piece {
    Slice slice;
    int64_t image;  // the first one
    int32_t part;
    int32_t p0;  // positions [p0, p1)
    int32_t p1;
};

SE_BOTH Piece pieceOf(const Geometry& g, const Jobs& jobs, int32_t job) {
    const int32_t part = job % jobs.parts;
    const int32_t from = job / jobs.parts % jobs.chunks * jobs.atoms;
    const int32_t to = from + jobs.atoms < g.atoms ? from + jobs.atoms : g.atoms;
    const int64_t p0 = int64_t{part} * jobs.positions;
    const int64_t p1 = p0 + jobs.positions;
    return {sliceOf(g, from, to), int64_t{job / jobs.parts / jobs.chunks} * jobs.images, part,
            static_cast<int32_t>(p0 < g.hw ? p0 : g.hw), static_cast<int32_t>(p1 < g.hw ? p1 : g.hw)};
}

}  // namespace se
