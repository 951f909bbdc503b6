// A value or what went wrong: nothing of this library throws at its caller.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>
#include <variant>

namespace se::runtime {

//: What and where, and what to do about it.
struct Error {
    std::string message;
    std::string hint;

    std::string line() const { return hint.empty() ? message : message + "; " + hint; }
};

template <typename T>
class [[nodiscard]] Result {
 public:
    Result(T value) : value_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : value_(std::in_place_index<1>, std::move(error)) {}

    bool ok() const { return value_.index() == 0; }
    explicit operator bool() const { return ok(); }
    T& value() { return *std::get_if<0>(&value_); }
    T const& value() const { return *std::get_if<0>(&value_); }
    Error const& error() const { return *std::get_if<1>(&value_); }

 private:
    std::variant<T, Error> value_;
};

//: For what gives nothing back.
struct Done {};
using Status = Result<Done>;

//: Calls `work`; what it or the standard library throws (memory that is not there, above all) becomes an error.
template <typename Work>
auto guarded(Work&& work) noexcept -> decltype(work()) {
    try {
        return work();
    } catch (std::bad_alloc const&) {
        return Error{"not enough memory", "use smaller images or a smaller batch"};
    } catch (std::exception const& error) {
        return Error{std::string("unexpected: ") + error.what(), "report this"};
    } catch (...) {
        return Error{"unexpected exception", "report this"};
    }
}

}  // namespace se::runtime
