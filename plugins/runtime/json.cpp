#include "json.h"

#include <charconv>
#include <cmath>
#include <optional>

namespace se::runtime::json {
namespace {

class Parser {
 public:
    explicit Parser(std::string_view text) : text_(text) {}

    Result<Value> document() {
        std::optional<Value> value = this->value(0);
        if (value) {
            space();
            if (at_ == text_.size()) return std::move(*value);
            fail("something stands behind the value");
        }
        return Error{"not JSON: " + fault_ + " at byte " + std::to_string(at_), "build the engine again"};
    }

 private:
    std::optional<Value> value(int depth) {
        space();
        if (depth > kMaxDepth) return fail("nested too deeply");
        if (at_ == text_.size()) return fail("the text ends");
        switch (text_[at_]) {
            case '{': return object(depth);
            case '[': return array(depth);
            case '"': {
                std::optional<std::string> made = string();
                return made ? std::optional<Value>(Value{std::move(*made)}) : std::nullopt;
            }
            case 't': return word("true", Value{true});
            case 'f': return word("false", Value{false});
            case 'n': return word("null", Value{});
            default: return number();
        }
    }

    std::optional<Value> object(int depth) {
        Object members;
        ++at_;
        if (take('}')) return Value{std::move(members)};
        do {
            space();
            if (at_ == text_.size() || text_[at_] != '"') return fail("a key is missing");
            std::optional<std::string> key = string();
            if (!key) return std::nullopt;
            for (auto const& member : members)
                if (member.first == *key) return fail("the key \"" + *key + "\" stands twice");
            if (!take(':')) return fail("a colon is missing");
            std::optional<Value> made = value(depth + 1);
            if (!made) return std::nullopt;
            members.emplace_back(std::move(*key), std::move(*made));
            if (members.size() > kMaxMembers) return fail("an object has too many members");
        } while (take(','));
        return take('}') ? std::optional<Value>(Value{std::move(members)}) : fail("a brace is missing");
    }

    std::optional<Value> array(int depth) {
        Array items;
        ++at_;
        if (take(']')) return Value{std::move(items)};
        do {
            std::optional<Value> made = value(depth + 1);
            if (!made) return std::nullopt;
            items.push_back(std::move(*made));
        } while (take(','));
        return take(']') ? std::optional<Value>(Value{std::move(items)}) : fail("a bracket is missing");
    }

    std::optional<std::string> string() {
        std::string made;
        for (++at_; at_ < text_.size() && text_[at_] != '"';) {
            unsigned char const c = static_cast<unsigned char>(text_[at_]);
            if (c < 0x20) return failed<std::string>("a control character in a string");
            if (c != '\\') {
                made.push_back(text_[at_++]);
            } else if (++at_ == text_.size() || !escape(made)) {
                return failed<std::string>("a bad escape");
            }
        }
        if (at_ == text_.size()) return failed<std::string>("a string does not end");
        ++at_;
        return made;
    }

    bool escape(std::string& made) {
        static constexpr std::string_view kNames = "\"\\/bfnrt";
        static constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
        char const c = text_[at_++];
        if (std::size_t const found = kNames.find(c); found != std::string_view::npos) {
            made.push_back(kMeant[found]);
            return true;
        }
        std::optional<unsigned> code = c == 'u' ? hex() : std::nullopt;
        if (code && *code >= 0xD800 && *code < 0xDC00) {  // the first half of a pair
            if (text_.substr(at_, 2) != "\\u") return false;
            at_ += 2;
            std::optional<unsigned> const low = hex();
            if (!low || *low < 0xDC00 || *low > 0xDFFF) return false;
            code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
        } else if (!code || (*code >= 0xDC00 && *code < 0xE000)) {
            return false;
        }
        append(made, *code);
        return true;
    }

    std::optional<unsigned> hex() {
        unsigned code = 0;
        if (text_.size() - at_ < 4) return std::nullopt;
        auto const [end, problem] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
        if (problem != std::errc() || end != text_.data() + at_ + 4) return std::nullopt;
        at_ += 4;
        return code;
    }

    static void append(std::string& made, unsigned code) {  // UTF-8
        if (code < 0x80) {
            made.push_back(static_cast<char>(code));
            return;
        }
        int const more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        made.push_back(static_cast<char>((0xF00 >> more) | (code >> (6 * more))));
        for (int k = more - 1; k >= 0; --k) made.push_back(static_cast<char>(0x80 | ((code >> (6 * k)) & 0x3F)));
    }

    std::optional<Value> number() {
        std::size_t const start = at_;
        take_if('-');
        if (!take_if('0') && !digits()) return fail("no value");
        if (take_if('.') && !digits()) return fail("a bad number");
        if (take_if('e') || take_if('E')) {
            if (!take_if('-')) take_if('+');
            if (!digits()) return fail("a bad number");
        }
        double made = 0;
        auto const [end, problem] = std::from_chars(text_.data() + start, text_.data() + at_, made);
        if (problem != std::errc() || end != text_.data() + at_ || !std::isfinite(made)) return fail("a number out of range");
        return Value{made};
    }

    bool digits() {
        std::size_t const start = at_;
        while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
        return at_ > start;
    }

    std::optional<Value> word(std::string_view expected, Value meant) {
        if (text_.substr(at_, expected.size()) != expected) return fail("no value");
        at_ += expected.size();
        return meant;
    }

    void space() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    bool take_if(char c) {
        if (at_ == text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }

    bool take(char c) {
        space();
        return take_if(c);
    }

    std::nullopt_t fail(std::string what) {
        if (fault_.empty()) fault_ = std::move(what);
        return std::nullopt;
    }

    template <typename T>
    std::optional<T> failed(char const* what) {
        fail(what);
        return std::nullopt;
    }

    static constexpr std::size_t kMaxMembers = 4096;

    std::string_view text_;
    std::size_t at_ = 0;
    std::string fault_;
};

}  // namespace

Value const* Value::member(std::string_view name) const {
    Object const* members = object();
    if (members == nullptr) return nullptr;
    for (auto const& [key, value] : *members)
        if (key == name) return &value;
    return nullptr;
}

Result<Value> parse(std::string_view text) noexcept {
    return guarded([&]() -> Result<Value> { return Parser(text).document(); });
}

}  // namespace se::runtime::json
