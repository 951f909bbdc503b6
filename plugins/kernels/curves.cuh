// The activation between the FCs, the gate behind them, the epilogue behind the skip: se_deploy/op.py's `_act` and `_gate`.
//
//   relu max(v,0)   relu6 clip(v,0,6)   silu v sigmoid(v)   hardswish v clip(v/6 + 1/2, 0, 1)   gelu v/2 (1 + erf(v/sqrt 2))
//   gelu_tanh v/2 (1 + tanh(sqrt(2/pi) (v + 0.044715 v^3)))   leaky, prelu v < 0 ? slope v : v
//   sigmoid 1/(1 + e^-v)   hardsigmoid clip(alpha v + beta, 0, 1)   tanh alpha tanh(v) + beta
//
// All are switches at run time: the first two touch N*C values, the epilogue's is the same for all threads and outside the loop over a
// vector. A NaN stays a NaN, as in NumPy: fmaxf would swallow it.
#pragma once

#include "cuda.cuh"
#include "squeeze_excite.h"

namespace se {

__device__ __forceinline__ float clip(float v, float low, float high) { return v < low ? low : (v > high ? high : v); }

// The quick division is right to 2 units in the last place, also where e^-v is infinite; the exact one is a subroutine of its own.
__device__ __forceinline__ float sigmoid(float v) { return __fdividef(1.0F, 1.0F + expf(-v)); }

__device__ __forceinline__ float hardswish(float v) { return v * clip(v * (1.0F / 6.0F) + 0.5F, 0.0F, 1.0F); }

__device__ inline float activate(const Op& op, float v, float slope) {
    switch (op.act) {
        case Act::kNone: return v;
        case Act::kRelu: return v < 0.0F ? 0.0F : v;
        case Act::kRelu6: return clip(v, 0.0F, 6.0F);
        case Act::kSilu: return v * sigmoid(v);
        case Act::kHardSwish: return hardswish(v);
        case Act::kGelu: return v * 0.5F * (1.0F + erff(v * 0.70710678F));
        case Act::kGeluTanh: return v * 0.5F * (1.0F + tanhf(0.79788456F * (v + 0.044715F * v * v * v)));
        case Act::kLeaky:
        case Act::kPRelu: return v < 0.0F ? slope * v : v;
    }
    return v;
}

__device__ inline float gateOf(const Op& op, float v) {
    switch (op.gate) {
        case Gate::kSigmoid: return sigmoid(v);
        case Gate::kHardSigmoid: return clip(op.alpha * v + op.beta, 0.0F, 1.0F);
        case Gate::kTanh: return op.alpha * tanhf(v) + op.beta;
    }
    return v;
}

//: The epilogue on a vector of values.
template <int kCount>
__device__ __forceinline__ void finish(Epilogue epilogue, float (&v)[kCount]) {
    switch (epilogue) {
        case Epilogue::kNone: break;
        case Epilogue::kRelu:
#pragma unroll
            for (int i = 0; i < kCount; ++i) v[i] = v[i] < 0.0F ? 0.0F : v[i];
            break;
        case Epilogue::kSilu:
#pragma unroll
            for (int i = 0; i < kCount; ++i) v[i] *= sigmoid(v[i]);
            break;
        case Epilogue::kHardSwish:
#pragma unroll
            for (int i = 0; i < kCount; ++i) v[i] = hardswish(v[i]);
            break;
    }
}

}  // namespace se
