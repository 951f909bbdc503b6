#include "hosts.h"

#include <dlfcn.h>
#include <link.h>
#include <unwind.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "creators.h"

namespace se {
namespace {

struct Slots {
    int registerCreator;
    int log;
};
constexpr Slots kEarlier{12, 0};
constexpr Slots kLater{8, 4};

//: The function in a slot of an object's virtual table (Itanium C++ ABI: `this` is the first argument).
template <typename Function>
Function slot(void* object, int index) {
    return reinterpret_cast<Function>((*static_cast<void***>(object))[index]);
}

//: Part of a path behind the last slash.
const char* baseName(const char* path) {
    const char* slash = std::strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool beginsWith(const char* text, const char* start) { return std::strncmp(text, start, std::strlen(start)) == 0; }

bool isRtx(const char* path) { return beginsWith(baseName(path), "libtensorrt_rtx.so"); }

bool isTensorRT(const char* path) { return isRtx(path) || beginsWith(baseName(path), "libnvinfer.so"); }

//: A function of a library that is loaded already; null where it has none of that name.
template <typename Function>
Function functionOf(const char* path, const char* name) {
    void* library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) {
        return nullptr;
    }
    void* found = dlsym(library, name);
    dlclose(library);  // gives back what RTLD_NOLOAD counted; the library stays
    return reinterpret_cast<Function>(found);
}

Slots slotsOf(const char* path) {
    auto version = functionOf<int32_t (*)()>(path, "getInferLibVersion");  // 101400 is 10.14.0
    int32_t const first = isRtx(path) ? 10500 : 110000;
    return version != nullptr && version() >= first ? kLater : kEarlier;
}

int collect(dl_phdr_info* info, size_t, void* found) {
    if (info->dlpi_name != nullptr && isTensorRT(info->dlpi_name)) {
        static_cast<std::vector<std::string>*>(found)->push_back(info->dlpi_name);
    }
    return 0;
}

//: Paths of the TensorRT libraries in the process.
std::vector<std::string> libraries() {
    std::vector<std::string> found;
    dl_iterate_phdr(collect, &found);
    return found;
}

//: Registers every creator that a registry does not have.
void registerWith(const std::string& path) {
    auto registryOf = functionOf<void* (*)()>(path.c_str(), "getPluginRegistry");
    void* registry = registryOf == nullptr ? nullptr : registryOf();
    if (registry == nullptr) {
        return;
    }
    using Register = bool (*)(void*, nvinfer1::IPluginCreatorInterface&, const char*);
    auto add = slot<Register>(registry, slotsOf(path.c_str()).registerCreator);
    for (nvinfer1::IPluginCreatorInterface* creator : creators()) {
        add(registry, *creator, kNamespace);
    }
}

//: Whether a file is part of how any library is opened.
bool isLoader(const char* path) {
    const char* const name = baseName(path);
    return beginsWith(name, "ld-") || beginsWith(name, "libc.so") || beginsWith(name, "libc-") || beginsWith(name, "libdl");
}

struct Opener {
    const char* self;
    bool tensorrt = false;
};

//: Stops at the first function that is neither ours nor the loader's: it is the one that opens the library.
_Unwind_Reason_Code visit(_Unwind_Context* context, void* given) {
    auto& opener = *static_cast<Opener*>(given);
    Dl_info owner{};
    if (dladdr(reinterpret_cast<void*>(_Unwind_GetIP(context)), &owner) == 0 || owner.dli_fname == nullptr) {
        return _URC_END_OF_STACK;
    }
    if (isLoader(owner.dli_fname) || std::strcmp(owner.dli_fname, opener.self) == 0) {
        return _URC_NO_REASON;
    }
    opener.tensorrt = isTensorRT(owner.dli_fname);
    return _URC_END_OF_STACK;
}

//: Whether IPluginRegistry::loadLibrary opens this library just now: it registers the creators itself, and refuses any that are there.
bool openedByTensorRT() {
    Dl_info self{};
    if (dladdr(reinterpret_cast<void*>(&openedByTensorRT), &self) == 0 || self.dli_fname == nullptr) {
        return false;
    }
    Opener opener{self.dli_fname};
    _Unwind_Backtrace(visit, &opener);
    return opener.tensorrt;
}

std::atomic<void*> finder{nullptr};

//: The logger that the finder finds, else the process's own; `slots` becomes those of its library.
void* loggerOf(Slots& slots) {
    if (void* const known = finder.load()) {
        Dl_info owner{};
        // The finder's virtual table lies in the library that made it: this tells which TensorRT calls.
        if (dladdr(*static_cast<void**>(known), &owner) != 0 && owner.dli_fname != nullptr) {
            slots = slotsOf(owner.dli_fname);
            if (void* const logger = slot<void* (*)(void*)>(known, slots.log)(known)) {
                return logger;
            }
        }
    }
    for (const std::string& path : libraries()) {
        auto logger = functionOf<void* (*)()>(path.c_str(), "getLogger");
        if (void* const found = logger == nullptr ? nullptr : logger()) {
            slots = slotsOf(path.c_str());
            return found;
        }
    }
    return nullptr;
}

}  // namespace

void registerEverywhere() noexcept {
    try {
        if (openedByTensorRT()) {
            return;
        }
        for (const std::string& path : libraries()) {
            registerWith(path);
        }
    } catch (...) {  // out of memory: the creators are missing then, which TensorRT says
    }
}

void rememberFinder(void* given) noexcept { finder.store(given); }

void say(Severity severity, const char* message) noexcept {
    try {
        Slots slots = kLater;
        if (void* const logger = loggerOf(slots)) {
            using Log = void (*)(void*, int32_t, const char*);
            slot<Log>(logger, slots.log)(logger, static_cast<int32_t>(severity), message);
            return;
        }
        std::fprintf(stderr, "%s\n", message);
    } catch (...) {  // nothing more can be said
    }
}

}  // namespace se
