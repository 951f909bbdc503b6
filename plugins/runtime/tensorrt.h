// TensorRT 10 and 11 and TensorRT-RTX, opened at run time. What can be checked without TensorRT's headers is checked in tensorrt.cpp,
// before TensorRT is asked; what needs them is in tensorrt_engine.cpp.
#pragma once

#include "cuda.h"
#include "engine.h"

namespace se::runtime {

//: A plan whose hashes are right; `plugin` is empty where it needs none.
struct Plan {
    std::filesystem::path engine, plugin;
    Manifest manifest;
};

struct LibraryVersion {
    int major = 0, minor = 0, patch = 0;
    std::string text() const { return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch); }
};

Result<std::unique_ptr<Engine>> openTensorRt(Plan plan, Options const& options);

//: Which TensorRT's headers tensorrt_engine.cpp was compiled with: major 0 where with none.
LibraryVersion headers();
bool headersAreRtx();

//: Loads the plugin and deserialises: nothing before this has called into TensorRT but for its version.
Result<std::unique_ptr<Engine>> deserialise(Plan plan, Library library, LibraryVersion version, std::shared_ptr<Cuda> cuda);

}  // namespace se::runtime
