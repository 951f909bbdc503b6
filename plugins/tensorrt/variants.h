// Which SqueezeExcite there are: the names and fields of se_deploy/op.py, in words of the kernels.
#pragma once

#include <string>
#include <vector>

#include "squeeze_excite.h"

namespace se {

//: One variant of the node. `fields` are its float attributes, every one of which a node carries.
struct Variant {
    std::string name;
    Op op;
    bool int8 = false;
    std::vector<const char*> fields;

    int32_t inputCount() const;
    //: Positions among the node's inputs; -1 where the variant has none.
    int32_t w1() const;
    int32_t w2() const;
    int32_t slope() const;
    int32_t residual() const;
};

//: All of them, in op.py's order.
const std::vector<Variant>& variants();

//: The variant of that name, or null.
const Variant* findVariant(const char* name);

//: Where a field's value stands in an op; null for a name that is none.
float* fieldOf(Op& op, const char* name);

}  // namespace se
