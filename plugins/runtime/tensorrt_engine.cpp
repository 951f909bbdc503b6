#include "tensorrt.h"

#if SE_WITH_TENSORRT

#include <NvInferRuntime.h>
#include <NvInferVersion.h>

#include <cstring>
#include <mutex>

#include "files.h"

namespace se::runtime {
namespace {

using namespace nvinfer1;

constexpr std::uintmax_t kMaxPlan = std::uintmax_t{16} << 30;

//: Keeps the last error that TensorRT tells, for our own message; what it says beside that is not printed.
class Messages final : public ILogger {
 public:
    void log(Severity severity, AsciiChar const* text) noexcept override {
        if (severity > Severity::kERROR) return;
        std::lock_guard<std::mutex> const held(lock_);
        try {
            last_ = text == nullptr ? "" : text;
        } catch (...) {}
    }
    std::string last() {
        std::lock_guard<std::mutex> const held(lock_);
        return last_.empty() ? "no reason given" : last_;
    }

 private:
    std::mutex lock_;
    std::string last_;
};

bool same(DataType type, Type told) {
    switch (told) {
        case Type::kFloat32: return type == DataType::kFLOAT;
        case Type::kFloat16: return type == DataType::kHALF;
        case Type::kInt8: return type == DataType::kINT8;
        case Type::kUInt8: return type == DataType::kUINT8;
        case Type::kInt32: return type == DataType::kINT32;
        case Type::kInt64: return type == DataType::kINT64;
        case Type::kBool: return type == DataType::kBOOL;
        default: return false;
    }
}

Dims dims(std::vector<int64_t> const& shape) {
    Dims made{};
    made.nbDims = static_cast<int32_t>(shape.size());  // at most 8: the manifest's reader saw to it
    for (std::size_t k = 0; k < shape.size(); ++k) made.d[k] = shape[k];
    return made;
}

class TensorRt final : public Engine {
 public:
    TensorRt(Manifest manifest, Library library, std::shared_ptr<Cuda> cuda)
        : Engine(std::move(manifest)), library_(std::move(library)), cuda_(std::move(cuda)) {}

    ~TensorRt() override {
        if (cuda_->enter()) static_cast<void>(settle());
    }

    Status load(Plan const& plan, LibraryVersion const& version) {
        auto* create = library_.find<void*(void*, int32_t)>("createInferRuntime_INTERNAL");
        auto* number = library_.find<int32_t()>("getInferLibVersion");
        if (create == nullptr || number == nullptr)
            return Error{library_.name() + " is not TensorRT", "name the right library in SE_TENSORRT"};
        runtime_.reset(static_cast<IRuntime*>(create(&messages_, number())));
        if (!runtime_)
            return Error{"TensorRT " + version.text() + " does not start: " + messages_.last(), "check the driver with nvidia-smi"};
        if (!plan.plugin.empty() && runtime_->getPluginRegistry().loadLibrary(plan.plugin.c_str()) == nullptr)
            return Error{"TensorRT " + version.text() + " does not take the plugin " + plan.plugin.string() + ": " + messages_.last(),
                         "compile it with `se-deploy plugin build`"};
        Result<std::string> const bytes = contents(plan.engine, kMaxPlan);
        if (!bytes) return bytes.error();
        engine_.reset(runtime_->deserializeCudaEngine(bytes.value().data(), bytes.value().size()));
        if (!engine_)
            return Error{"TensorRT " + version.text() + " does not take " + plan.engine.string() + ": " + messages_.last(),
                         "build it with this TensorRT, on this GPU"};
        if (Status const known = bind(); !known) return known;
        context_.reset(engine_->createExecutionContext());
        if (!context_) return Error{"TensorRT makes no context: " + messages_.last(), "free memory on the GPU"};
        for (std::size_t k = 0; k < manifest().inputs.size(); ++k) inputs_.emplace_back(cuda_);
        for (std::size_t k = 0; k < manifest().outputs.size(); ++k) outputs_.emplace_back(cuda_);
        return Done{};
    }

    Status start(std::vector<View> const& inputs) noexcept override {
        return guarded([&]() -> Status {
            begun_ = false;
            if (Status const fit = check(inputs); !fit) return fit;
            if (Status const entered = cuda_->enter(); !entered) return entered;
            if (Status const settled = settle(); !settled) return settled;
            busy_ = true;
            for (std::size_t k = 0; k < inputs_.size(); ++k)
                for (View const& view : inputs)
                    if (view.name == manifest().inputs[k].name)
                        if (Status const fed = feed(view, inputs_[k]); !fed) return fed;
            if (Status const made = prepare(); !made) return made;
            if (!context_->enqueueV3(static_cast<cudaStream_t>(cuda_->stream())))
                return Error{"TensorRT does not run: " + messages_.last(), "check the GPU with nvidia-smi"};
            for (std::size_t k = 0; k < outputs_.size(); ++k)
                if (Status const copied = cuda_->copyOut(outputs_[k].host(), outputs_[k].device(), views_[k].size()); !copied)
                    return copied;
            begun_ = true;
            return Done{};
        });
    }

    Result<std::vector<View>> wait() noexcept override {
        return guarded([&]() -> Result<std::vector<View>> {
            if (!begun_) return Error{"no batch was begun", "call start() first"};
            begun_ = false;
            if (Status const settled = settle(); !settled) return settled.error();
            return views_;
        });
    }

 private:
    //: Waits for what may still read or write the buffers: a batch that nobody waited for, or one that failed halfway.
    Status settle() { return std::exchange(busy_, false) ? cuda_->synchronise() : Status(Done{}); }

    //: Every tensor of the plan is one of the manifest, by name, direction and type.
    Status bind() const {
        std::size_t const expected = manifest().inputs.size() + manifest().outputs.size();
        if (static_cast<std::size_t>(engine_->getNbIOTensors()) != expected)
            return Error{"the plan has other tensors than its manifest", "build it again"};
        for (int32_t k = 0; k < engine_->getNbIOTensors(); ++k) {
            std::string const tensor = engine_->getIOTensorName(k);
            bool const input = engine_->getTensorIOMode(tensor.c_str()) == TensorIOMode::kINPUT;
            bool found = false;
            for (Port const& port : input ? manifest().inputs : manifest().outputs)
                found = found || (port.name == tensor && same(engine_->getTensorDataType(tensor.c_str()), port.type));
            if (!found) return Error{"the plan's tensor " + tensor + " is not as its manifest says", "build it again"};
        }
        return Done{};
    }

    Status feed(View const& view, Cuda::Buffer& buffer) {
        if (Status const room = buffer.reserve(view.size()); !room) return room;
        std::memcpy(buffer.host(), view.data, view.size());
        if (Status const copied = cuda_->copyIn(buffer.device(), buffer.host(), view.size()); !copied) return copied;
        bool const taken = context_->setInputShape(view.name.c_str(), dims(view.shape)) &&
                           context_->setTensorAddress(view.name.c_str(), reinterpret_cast<void*>(buffer.device()));
        if (!taken) return Error{"TensorRT does not take input " + view.name + ": " + messages_.last(), "keep within the profile"};
        return Done{};
    }

    //: Shapes, memory and addresses of the outputs for the inputs' shapes.
    Status prepare() {
        views_.clear();
        for (std::size_t k = 0; k < outputs_.size(); ++k) {
            Port const& port = manifest().outputs[k];
            Dims const shape = context_->getTensorShape(port.name.c_str());
            View view;
            view.name = port.name;
            view.type = port.type;
            for (int32_t d = 0; d < shape.nbDims; ++d) {
                if (shape.d[d] < 0) return Error{"the shape of output " + port.name + " depends on the data", "export with fixed shapes"};
                view.shape.push_back(shape.d[d]);
            }
            if (Status const room = outputs_[k].reserve(view.size()); !room) return room;
            view.data = outputs_[k].host();
            if (!context_->setTensorAddress(port.name.c_str(), reinterpret_cast<void*>(outputs_[k].device())))
                return Error{"TensorRT does not take output " + port.name + ": " + messages_.last(), "build it again"};
            views_.push_back(std::move(view));
        }
        return Done{};
    }

    // In the order in which they must be made, and the other way round go.
    Library library_;
    Messages messages_;
    std::shared_ptr<Cuda> cuda_;
    std::unique_ptr<IRuntime> runtime_;
    std::unique_ptr<ICudaEngine> engine_;
    std::unique_ptr<IExecutionContext> context_;
    std::vector<Cuda::Buffer> inputs_, outputs_;
    std::vector<View> views_;
    bool begun_ = false, busy_ = false;
};

}  // namespace

LibraryVersion headers() { return {NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH}; }

bool headersAreRtx() {
#ifdef TRT_MAJOR_RTX
    return true;
#else
    return false;
#endif
}

Result<std::unique_ptr<Engine>> deserialise(Plan plan, Library library, LibraryVersion version, std::shared_ptr<Cuda> cuda) {
    auto made = std::make_unique<TensorRt>(plan.manifest, std::move(library), std::move(cuda));
    Status const loaded = made->load(plan, version);
    if (!loaded) return loaded.error();
    return std::unique_ptr<Engine>(std::move(made));
}

}  // namespace se::runtime

#else

namespace se::runtime {

LibraryVersion headers() { return {}; }
bool headersAreRtx() { return false; }

Result<std::unique_ptr<Engine>> deserialise(Plan, Library, LibraryVersion, std::shared_ptr<Cuda>) {
    return Error{"this program was compiled without TensorRT's headers", "compile it with -DSE_TENSORRT_INCLUDE=DIR"};
}

}  // namespace se::runtime

#endif
