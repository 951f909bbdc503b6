"""A TensorRT without a GPU: NVIDIA's interfaces with a network behind them that anyone can compute, so that the loader's whole way is run.

Every method that the loader does not call is written from the header: it answers nothing. With the stub driver, whose device memory is
malloc's, AddressSanitizer sees each copy.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.runtime import compiled

#: y[n][k] = (k + 1) * sum(x[n]), for float32 x of (N, 3, 4, 4), 10 classes, N up to 8; the plan's bytes choose what goes wrong.
_SOURCE = """
#include <NvInferRuntime.h>
#include <cstdlib>
#include <cstring>
#include <string>
using namespace nvinfer1;
namespace {
@STUBS@
constexpr int64_t kImage = 3 * 4 * 4, kClasses = 10;
ILogger* logger = nullptr;

struct Context : StubExecutionContext {
    int64_t rows = 0;
    float const* x = nullptr;
    float* y = nullptr;
    std::string fault;
    bool setInputShape(char const*, Dims const& dims) noexcept override {
        rows = dims.d[0];
        return dims.nbDims == 4 && rows <= 8;
    }
    Dims getTensorShape(char const*) const noexcept override {
        Dims made{};
        made.nbDims = 2;
        made.d[0] = fault == "data" ? -1 : rows;
        made.d[1] = kClasses;
        return made;
    }
    bool setTensorAddress(char const* name, void* data) noexcept override {
        if (std::strcmp(name, "x") == 0) x = static_cast<float*>(data); else y = static_cast<float*>(data);
        return true;
    }
    bool enqueueV3(cudaStream_t) noexcept override {
        if (fault == "enqueue") {
            logger->log(ILogger::Severity::kERROR, "the kernel does not launch");
            return false;
        }
        for (int64_t n = 0; n < rows; ++n) {
            float sum = 0;
            for (int64_t k = 0; k < kImage; ++k) sum += x[n * kImage + k];
            for (int64_t k = 0; k < kClasses; ++k) y[n * kClasses + k] = static_cast<float>(k + 1) * sum;
        }
        return true;
    }
};
struct FakeContext : IExecutionContext {
    Context context;
    FakeContext() { mImpl = &context; }
};
struct Engine : StubCudaEngine {
    std::string fault;
    int32_t getNbIOTensors() const noexcept override { return fault == "more" ? 3 : 2; }
    char const* getIOTensorName(int32_t k) const noexcept override { return k == 0 ? fault == "name" ? "z" : "x" : "y"; }
    TensorIOMode getTensorIOMode(char const* name) const noexcept override {
        return name[0] == 'y' ? TensorIOMode::kOUTPUT : TensorIOMode::kINPUT;
    }
    DataType getTensorDataType(char const*) const noexcept override { return fault == "type" ? DataType::kHALF : DataType::kFLOAT; }
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy) noexcept override {
        if (fault == "context") return nullptr;
        auto* made = new FakeContext;
        made->context.fault = fault;
        return made;
    }
};
struct FakeEngine : ICudaEngine {
    Engine engine;
    FakeEngine() { mImpl = &engine; }
};
struct Registry : StubPluginRegistry {
    PluginLibraryHandle loadLibrary(AsciiChar const* path) noexcept override {
        return std::strstr(path, "good") != nullptr ? this : nullptr;
    }
};
struct Runtime : StubRuntime {
    Registry registry;
    IPluginRegistry& getPluginRegistry() noexcept override { return registry; }
    ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override {
        std::string const fault(static_cast<char const*>(blob), size);
        if (fault == "refused") {
            logger->log(ILogger::Severity::kWARNING, "a warning is not the reason");
            logger->log(ILogger::Severity::kERROR, "the engine plan file is not compatible");
            return nullptr;
        }
        auto* made = new FakeEngine;
        made->engine.fault = fault;
        return made;
    }
};
struct FakeRuntime : IRuntime {
    Runtime runtime;
    FakeRuntime() { mImpl = &runtime; }
};
}  // namespace
extern "C" int32_t getInferLibVersion() noexcept { return 101303; }
extern "C" void* createInferRuntime_INTERNAL(void* given, int32_t) noexcept {
    logger = static_cast<ILogger*>(given);
    return new FakeRuntime;
}
"""


def library(folder: Path, headers: Path, cuda: Path) -> Path:
    """libnvinfer.so.10, compiled against the headers that the loader was compiled with."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "fake.cpp"
    interfaces = {"Runtime": "NvInferImpl.h", "CudaEngine": "NvInferImpl.h", "ExecutionContext": "NvInferImpl.h"}
    stubs = [_stub(f"apiv::V{name}", f"V{name}", (headers / file).read_text(), f"Stub{name}") for name, file in interfaces.items()]
    stubs.append(_stub("IPluginRegistry", "IPluginRegistry", (headers / "NvInferRuntimeCommon.h").read_text(), "StubPluginRegistry"))
    source.write_text(_SOURCE.replace("@STUBS@", "\n".join(stubs)))
    words = ["c++", "-std=c++17", "-w", "-shared", "-fPIC", f"-isystem{headers}", f"-isystem{cuda}", str(source)]
    compiled.run([*words, "-o", str(folder / "libnvinfer.so.10")])
    return folder / "libnvinfer.so.10"


def _stub(base: str, name: str, header: str, stub: str) -> str:
    """A class that overrides every pure method of an interface in a header by one that answers nothing."""
    body = re.search(rf"^class {name}\b[^;{{]*\{{(.*?)^\}};", header, re.DOTALL | re.MULTILINE)
    assert body, f"no class {name} in the header"
    text = re.sub(r"//[^\n]*|^#if.*?^#endif|/\*.*?\*/", "", body[1], flags=re.DOTALL | re.MULTILINE)
    made = []
    for method in re.findall(r"virtual\s+([^;{}~]+?)\s*=\s*0\s*;", text):
        signature = re.sub(r"\s+", " ", method)
        kind = re.match(r"(?P<result>.+?[\s*&])\w+\(", signature)
        assert kind, signature
        result = kind["result"].strip()
        answer = "std::abort();" if result.endswith("&") else "" if result == "void" else "return {};"
        made.append(f"    {signature} override {{ {answer} }}")
    return f"struct {stub} : {base} {{\n" + "\n".join(made) + "\n};"
