#include "tensors.h"

#include <algorithm>

namespace se {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::TensorFormat;

bool typeOf(DataType from, Type& to) {
    switch (from) {
    case DataType::kFLOAT: to = Type::kFloat; return true;
    case DataType::kHALF: to = Type::kHalf; return true;
    case DataType::kBF16: to = Type::kBFloat16; return true;
    case DataType::kINT8: to = Type::kInt8; return true;
    default: return false;
    }
}

bool layoutOf(TensorFormat from, Layout& to) {
    switch (from) {
    case TensorFormat::kLINEAR: to = Layout::kLinear; return true;
    case TensorFormat::kHWC8: to = Layout::kHWC8; return true;
    case TensorFormat::kHWC16: to = Layout::kHWC16; return true;
    case TensorFormat::kCHW32: to = Layout::kCHW32; return true;
    default: return false;
    }
}

Shape shapeOf(const Dims& x, const Dims* w1) {
    Shape shape;
    shape.n = x.d[0];
    shape.c = x.d[1];
    shape.r = w1 == nullptr ? 0 : w1->d[0];
    shape.hw = 1;
    for (int32_t i = 2; i < x.nbDims; ++i) {
        shape.hw *= x.d[i];
    }
    return shape;
}

std::string text(const Dims& dims) {
    std::string out = "(";
    for (int32_t i = 0; i < dims.nbDims; ++i) {
        out += (i == 0 ? "" : ", ") + std::to_string(dims.d[i]);
    }
    return out + ")";
}

bool equal(const Dims& a, const Dims& b) { return a.nbDims == b.nbDims && std::equal(a.d, a.d + std::max(a.nbDims, 0), b.d); }

std::size_t scratchBytes(const Op& op, const Shape& shape) {
    // An engine for RTX is built on machines without the card it is for: what the kernels may choose there is bounded by these.
    constexpr Device kDevices[] = {
        {75, 72, 65536, 65536, 6 << 20},       {80, 108, 166912, 167936, 40 << 20},   {86, 84, 101376, 102400, 6 << 20},
        {89, 142, 101376, 102400, 96 << 20},   {90, 132, 232448, 233472, 50 << 20},   {100, 148, 232448, 233472, 126 << 20},
        {120, 188, 101376, 102400, 128 << 20},
    };
    std::size_t most = 0;
    for (const Device& device : kDevices) {
        most = std::max(most, workspaceBytes(op, shape, device));
    }
    Device here;
    return currentDevice(here) == cudaSuccess ? std::max(most, workspaceBytes(op, shape, here)) : most;
}

}  // namespace se
