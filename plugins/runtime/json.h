// JSON (RFC 8259) with bounds: depth, and as many values as the text has bytes. No exceptions, no locale.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "result.h"

namespace se::runtime::json {

struct Value;
using Array = std::vector<Value>;
using Object = std::vector<std::pair<std::string, Value>>;

struct Value {
    std::variant<std::nullptr_t, bool, double, std::string, Array, Object> data = nullptr;

    bool null() const { return data.index() == 0; }
    double const* number() const { return std::get_if<double>(&data); }
    std::string const* string() const { return std::get_if<std::string>(&data); }
    Array const* array() const { return std::get_if<Array>(&data); }
    Object const* object() const { return std::get_if<Object>(&data); }
    //: An object's member; nullptr where this is no object or has none of that name.
    Value const* member(std::string_view name) const;
};

constexpr int kMaxDepth = 32;

//: One value and nothing behind it. Keys of one object must differ.
Result<Value> parse(std::string_view text) noexcept;

}  // namespace se::runtime::json
