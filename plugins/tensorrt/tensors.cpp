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
    // An engine may be built where its card is not. Of a device, what the kernels need depends on the number of multiprocessors alone, and
    // grows with it: 256 are more than any has (188 in 2026).
    Device device{0, 256, 0, 0, 0};
    Device here;
    if (currentDevice(here) == cudaSuccess) {
        device.multiprocessors = std::max(device.multiprocessors, here.multiprocessors);
    }
    return workspaceBytes(op, shape, device);
}

}  // namespace se
