// ONNX Runtime's CPU provider, by its C API, from a library opened at run time.
#pragma once

#include "engine.h"

namespace se::runtime {

Result<std::unique_ptr<Engine>> openOnnxRuntime(std::filesystem::path const& engine, Manifest manifest, Options const& options);

}  // namespace se::runtime
