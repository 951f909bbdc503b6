// A shared library that is opened at run time, so that a program starts without it.
#pragma once

#include <dlfcn.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "result.h"

namespace se::runtime {

//: Never unloaded: such libraries have threads and exit handlers of their own.
class Library {
 public:
    Library() = default;
    Library(Library&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), name_(std::move(other.name_)) {}
    Library& operator=(Library&& other) noexcept {
        std::swap(handle_, other.handle_);
        std::swap(name_, other.name_);
        return *this;
    }
    ~Library() {
        if (handle_ != nullptr) dlclose(handle_);
    }

    //: The first of `names` that opens; the error says what the loader said of the first.
    static Result<Library> open(std::initializer_list<std::string> names) {
        std::string said;
        for (std::string const& name : names) {
            if (name.empty()) continue;
            Library made;
            made.handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
            made.name_ = name;
            if (made.handle_ != nullptr) return made;
            char const* fault = dlerror();
            if (said.empty()) said = fault == nullptr ? name + " does not open" : fault;
        }
        return Error{said, ""};
    }

    //: A function; null where the library has none of that name.
    template <typename Function>
    Function* find(char const* symbol) const {
        return reinterpret_cast<Function*>(dlsym(handle_, symbol));
    }

    std::string const& name() const { return name_; }

 private:
    void* handle_ = nullptr;
    std::string name_;
};

}  // namespace se::runtime
