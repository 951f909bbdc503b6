// What TensorRT asks while it builds an engine.
#include "hosts.h"
#include "plugin.h"
#include "tensors.h"

namespace se {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

int32_t Plugin::getNbOutputs() const noexcept { return 1; }

int32_t Plugin::getOutputDataTypes(DataType* outputs, int32_t outputCount, const DataType* inputs, int32_t inputCount) const noexcept {
    return guarded(-1, [&] {
        if (inputCount != mVariant.inputCount() || outputCount != 1) {
            return refuse(std::to_string(inputCount) + " input(s), it takes " + std::to_string(mVariant.inputCount()));
        }
        Type type{};
        if (!typeOf(inputs[0], type) || (type == Type::kInt8) != mVariant.int8) {
            return refuse(mVariant.int8 ? "x is not int8" : "x is not float, half or bfloat16");
        }
        for (int32_t i = 1; i < inputCount; ++i) {
            bool const like = i == mVariant.residual();
            if (inputs[i] != (like ? inputs[0] : DataType::kFLOAT)) {
                return refuse("input " + std::to_string(i) + (like ? " (the residual) is not of x's type" : " (a weight) is not float"));
            }
        }
        outputs[0] = inputs[0];
        return 0;
    });
}

int32_t Plugin::getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t inputCount, const nvinfer1::DimsExprs*, int32_t,
                                nvinfer1::DimsExprs* outputs, int32_t outputCount, nvinfer1::IExprBuilder&) noexcept {
    return guarded(-1, [&] {
        if (inputCount != mVariant.inputCount() || outputCount != 1) {
            return refuse(std::to_string(inputCount) + " input(s), it takes " + std::to_string(mVariant.inputCount()));
        }
        outputs[0] = inputs[0];
        return 0;
    });
}

bool Plugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* all, int32_t inputCount, int32_t) noexcept {
    const PluginTensorDesc& asked = all[position].desc;
    const PluginTensorDesc& x = all[0].desc;
    if (position == 0) {
        Type type{};
        Layout layout{};
        bool const known = typeOf(x.type, type) && layoutOf(x.format, layout);
        // The formats with channels in groups are those of (N, C, H, W); others come as plain rows.
        bool const shaped = layout == Layout::kLinear || x.dims.nbDims == 4;
        return known && shaped && (type == Type::kInt8) == mVariant.int8 && supports(type, layout);
    }
    if (position == mVariant.residual() || position == inputCount) {
        return asked.type == x.type && asked.format == x.format;
    }
    return asked.type == DataType::kFLOAT && asked.format == TensorFormat::kLINEAR;
}

std::string Plugin::wrongShape(const PluginTensorDesc* const* inputs) const {
    const Dims& x = inputs[0]->dims;
    if (x.nbDims < 3) {
        return "x is " + text(x) + ", not (N, C, *spatial)";
    }
    const Dims& w2 = inputs[mVariant.w2()]->dims;
    int64_t const channels = x.d[1];
    int64_t const reduced = mVariant.w1() < 0 ? channels : inputs[mVariant.w1()]->dims.d[0];
    auto differs = [](const Dims& dims, int64_t rows, int64_t columns) {
        return dims.nbDims != (columns ? 2 : 1) || dims.d[0] != rows || (columns && dims.d[1] != columns);
    };
    if (differs(w2, channels, reduced) || differs(inputs[mVariant.w2() + 1]->dims, channels, 0)) {
        return "x has " + std::to_string(channels) + " channels, w2 is " + text(w2) + ", b2 " + text(inputs[mVariant.w2() + 1]->dims);
    }
    if (mVariant.w1() > 0 && (differs(inputs[1]->dims, reduced, channels) || differs(inputs[2]->dims, reduced, 0))) {
        return "x has " + std::to_string(channels) + " channels, w1 is " + text(inputs[1]->dims) + ", b1 " + text(inputs[2]->dims);
    }
    if (mVariant.slope() > 0 && differs(inputs[mVariant.slope()]->dims, reduced, 0)) {
        return "slope is " + text(inputs[mVariant.slope()]->dims) + ", not one of each of the " + std::to_string(reduced);
    }
    if (mVariant.residual() > 0 && !equal(inputs[mVariant.residual()]->dims, x)) {
        return "the residual is " + text(inputs[mVariant.residual()]->dims) + ", x is " + text(x);
    }
    return "";
}

int32_t Plugin::configurePlugin(const DynamicPluginTensorDesc* inputs, int32_t inputCount, const DynamicPluginTensorDesc*,
                                int32_t) noexcept {
    return guarded(-1, [&] {
        constexpr int32_t kMost = 8;
        const PluginTensorDesc* all[kMost]{};
        if (inputCount != mVariant.inputCount() || inputCount > kMost) {
            return refuse(std::to_string(inputCount) + " input(s), it takes " + std::to_string(mVariant.inputCount()));
        }
        for (int32_t i = 0; i < inputCount; ++i) {
            all[i] = &inputs[i].desc;
        }
        std::string const wrong = wrongShape(all);
        return wrong.empty() ? 0 : refuse(wrong);
    });
}

size_t Plugin::getWorkspaceSize(const DynamicPluginTensorDesc* inputs, int32_t, const DynamicPluginTensorDesc*, int32_t) const noexcept {
    Op op = mOp;
    if (!typeOf(inputs[0].desc.type, op.type) || !layoutOf(inputs[0].desc.format, op.layout)) {
        return 0;
    }
    const Dims* const w1 = mVariant.w1() < 0 ? nullptr : &inputs[mVariant.w1()].desc.dims;
    return scratchBytes(op, shapeOf(inputs[0].max, w1));
}

}  // namespace se
