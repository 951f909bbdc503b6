// What the library shows: to TensorRT's loadLibrary, to a process that opens it without one, and to `se-deploy plugin info`.
#include <string>

#include "creators.h"
#include "hosts.h"

#ifndef SE_ARCHITECTURES
#define SE_ARCHITECTURES ""
#endif

#define SE_EXPORT extern "C" __attribute__((visibility("default")))

//: Every creator; TensorRT registers them, under their own namespace.
SE_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
    count = static_cast<int32_t>(se::creators().size());
    return se::creators().data();
}

//: loadLibrary wants it; the finder stays its caller's.
SE_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { se::rememberFinder(finder); }

//: The library in JSON: version, architectures, creators.
SE_EXPORT const char* seDeployPlugin() {
    static const std::string text = [] {
        std::string made = std::string(R"({"version":")") + se::kVersion + R"(","architectures":")" SE_ARCHITECTURES R"(","creators":[)";
        for (const se::Variant& variant : se::variants()) {
            made += (made.back() == '[' ? "\"" : ",\"") + variant.name + "\"";
        }
        return made + "]}";
    }();
    return text.c_str();
}

//: For processes that open the library themselves (dlopen, Triton's plugins option): TensorRT is there already.
__attribute__((constructor)) static void registerAtLoad() { se::registerEverywhere(); }
