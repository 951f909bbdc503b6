// One interface over the engines: open checks everything that can be checked before the engine's own library is asked.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "manifest.h"
#include "result.h"

namespace se::runtime {

//: A tensor somebody else owns.
struct View {
    std::string name;
    Type type = Type::kFloat32;
    std::vector<int64_t> shape;
    void const* data = nullptr;

    std::size_t size() const;  // in bytes
};

struct Options {
    //: Libraries to open instead of those that the system finds: libonnxruntime.so, libnvinfer.so.
    std::string onnxruntime, tensorrt;
    int threads = 0;  // of ONNX Runtime; 0: its own choice
    int device = 0;   // the GPU's number
};

class Engine {
 public:
    Engine(Engine const&) = delete;
    Engine& operator=(Engine const&) = delete;
    virtual ~Engine() = default;

    Manifest const& manifest() const { return manifest_; }

    //: Begins a batch, every input by name; the inputs' data must stay until wait() has returned. TensorRT's work runs on a stream of
    //: its own from here on, ONNX Runtime's in wait(). One batch at a time.
    virtual Status start(std::vector<View> const& inputs) noexcept = 0;

    //: The outputs of the batch that was begun, theirs until the next start().
    virtual Result<std::vector<View>> wait() noexcept = 0;

    Result<std::vector<View>> run(std::vector<View> const& inputs) noexcept {
        Status const begun = start(inputs);
        if (!begun) return begun.error();
        return wait();
    }

 protected:
    explicit Engine(Manifest manifest) : manifest_(std::move(manifest)) {}

    //: Refuses inputs that are not the manifest's, by name, type, and sizes within the profile.
    Status check(std::vector<View> const& inputs) const;

 private:
    Manifest manifest_;
};

//: An engine beside its manifest. Before its library sees a byte: the manifest, hashes of the engine and of the plugin, the backend, the
//: library's version, the device.
Result<std::unique_ptr<Engine>> open(std::filesystem::path const& engine, Options const& options) noexcept;

//: The shape that a batch of `rows` has.
std::vector<int64_t> withBatch(Port const& port, int64_t rows);

}  // namespace se::runtime
