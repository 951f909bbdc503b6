// A checked call as the arguments of the roads with one launch.
#pragma once

#include "roads.h"
#include "whole.cuh"

namespace se {

template <typename T>
Whole<T> wholeOf(const Call& call) {
    const Tensors& t = call.tensors;
    Whole<T> w = {};
    w.op = call.op;
    w.geometry = call.geometry;
    w.rooms = roomsFor(call.op, call.shape, call.plan.road, call.plan.blocks);
    w.columns = call.columns;
    w.blocks = call.plan.blocks;
    w.groups = call.plan.groups;
    w.together = call.plan.together;
    w.factor = call.op.xScale / static_cast<float>(call.shape.hw);
    w.x = static_cast<const T*>(t.x);
    w.residual = static_cast<const T*>(t.residual);
    w.w1 = t.w1;
    w.b1 = t.b1;
    w.w2 = t.w2;
    w.b2 = t.b2;
    w.slope = t.slope;
    w.y = static_cast<T*>(t.y);
    return w;
}

inline Launch launchOf(const Plan& plan) {
    Launch how;
    how.blocks = int64_t{plan.blocks} * plan.groups;
    how.threads = plan.road == Road::kCluster ? kClusterThreads : kPersistentThreads;
    how.shared = plan.shared;
    return how;
}

}  // namespace se
