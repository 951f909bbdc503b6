#include "variants.h"

#include <cstring>

namespace se {
namespace {

constexpr const char* kActs[] = {"none", "relu", "relu6", "silu", "hardswish", "gelu", "gelu_tanh", "leaky", "prelu"};
constexpr const char* kGates[] = {"sigmoid", "hardsigmoid", "tanh"};
constexpr const char* kSkips[] = {"none", "add", "self"};
constexpr const char* kEpilogues[] = {"none", "relu", "silu", "hardswish"};

Variant make(int32_t act, int32_t gate, int32_t skip, int32_t epilogue, bool int8) {
    Variant made;
    made.name = std::string("SqueezeExcite_") + kActs[act] + "_" + kGates[gate] + "_skip_" + kSkips[skip] + "_then_" +
                kEpilogues[epilogue] + (int8 ? "_int8" : "");
    made.int8 = int8;
    made.op.act = static_cast<Act>(act);
    made.op.gate = static_cast<Gate>(gate);
    made.op.skip = static_cast<Skip>(skip);
    made.op.epilogue = static_cast<Epilogue>(epilogue);
    if (made.op.gate != Gate::kSigmoid) {
        made.fields.insert(made.fields.end(), {"alpha", "beta"});
    }
    if (made.op.act == Act::kLeaky) {
        made.fields.push_back("leak");
    }
    if (int8) {
        made.fields.push_back("x_scale");
        if (made.op.skip == Skip::kAdd) {
            made.fields.push_back("residual_scale");
        }
        made.fields.push_back("y_scale");
    }
    return made;
}

std::vector<Variant> makeAll() {
    std::vector<Variant> all;
    for (int32_t act = 0; act < int32_t(std::size(kActs)); ++act) {
        for (int32_t gate = 0; gate < int32_t(std::size(kGates)); ++gate) {
            for (int32_t skip = 0; skip < int32_t(std::size(kSkips)); ++skip) {
                for (int32_t epilogue = 0; epilogue < int32_t(std::size(kEpilogues)); ++epilogue) {
                    all.push_back(make(act, gate, skip, epilogue, false));
                    all.push_back(make(act, gate, skip, epilogue, true));
                }
            }
        }
    }
    return all;
}

}  // namespace

int32_t Variant::w1() const { return op.act == Act::kNone ? -1 : 1; }

int32_t Variant::w2() const { return op.act == Act::kNone ? 1 : 3; }

int32_t Variant::slope() const { return op.act == Act::kPRelu ? w2() + 2 : -1; }

int32_t Variant::residual() const { return op.skip == Skip::kAdd ? w2() + 2 + (op.act == Act::kPRelu) : -1; }

int32_t Variant::inputCount() const { return w2() + 2 + (op.act == Act::kPRelu) + (op.skip == Skip::kAdd); }

const std::vector<Variant>& variants() {
    static const std::vector<Variant> all = makeAll();
    return all;
}

const Variant* findVariant(const char* name) {
    for (const Variant& variant : variants()) {
        if (variant.name == name) {
            return &variant;
        }
    }
    return nullptr;
}

float* fieldOf(Op& op, const char* name) {
    struct Field {
        const char* name;
        float* value;
    };
    const Field fields[] = {{"alpha", &op.alpha},     {"beta", &op.beta}, {"leak", &op.leak}, {"x_scale", &op.xScale},
                            {"residual_scale", &op.residualScale}, {"y_scale", &op.yScale}};
    for (const Field& field : fields) {
        if (std::strcmp(field.name, name) == 0) {
            return field.value;
        }
    }
    return nullptr;
}

}  // namespace se
