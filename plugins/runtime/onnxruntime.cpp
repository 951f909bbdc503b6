#include "onnxruntime.h"

#include <cstdlib>
#include <fstream>

#include "library.h"

#if SE_WITH_ONNXRUNTIME
#include <onnxruntime_c_api.h>

namespace se::runtime {
namespace {

//: Releases a handle of the C API by the API's own function.
template <typename T>
struct Releaser {
    void (*release)(T*) = nullptr;
    void operator()(T* handle) const { release(handle); }
};
template <typename T>
using Handle = std::unique_ptr<T, Releaser<T>>;

constexpr std::array<ONNXTensorElementDataType, 8> kTypes{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
                                                          ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
                                                          ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
                                                          ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,  ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL};

//: Whether uint8 times int8 sums may saturate in 16 bits: x86 without VNNI. ONNX Runtime has a slower, exact way for those.
bool saturates() {
#if defined(__x86_64__)
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);)
        if (line.compare(0, 5, "flags") == 0) return line.find("vnni") == std::string::npos;
#endif
    return false;
}

class OnnxRuntime final : public Engine {
 public:
    OnnxRuntime(Manifest manifest, Library library, OrtApi const* api)
        : Engine(std::move(manifest)), library_(std::move(library)), api_(api) {}

    Status load(std::filesystem::path const& engine, int threads) {
        OrtEnv* env = nullptr;
        if (Status const made = status(api_->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "se_deploy", &env)); !made) return made;
        env_ = own(env, api_->ReleaseEnv);
        OrtSessionOptions* raw = nullptr;
        if (Status const made = status(api_->CreateSessionOptions(&raw)); !made) return made;
        Handle<OrtSessionOptions> const options = own(raw, api_->ReleaseSessionOptions);
        if (threads > 0)
            if (Status const set = status(api_->SetIntraOpNumThreads(raw, threads)); !set) return set;
        if (saturates())
            if (Status const set = status(api_->AddSessionConfigEntry(raw, "session.x64quantprecision", "1")); !set) return set;
        OrtSession* session = nullptr;
        if (Status const made = status(api_->CreateSession(env, engine.c_str(), raw, &session)); !made)
            return Error{"ONNX Runtime does not take " + engine.string() + ": " + made.error().message,
                         "check it with `se-deploy inspect`"};
        session_ = own(session, api_->ReleaseSession);
        OrtMemoryInfo* memory = nullptr;
        if (Status const made = status(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory)); !made) return made;
        memory_ = own(memory, api_->ReleaseMemoryInfo);
        return Done{};
    }

    Status start(std::vector<View> const& inputs) noexcept override {
        return guarded([&]() -> Status {
            begun_ = false;
            if (Status const fits = check(inputs); !fits) return fits;
            inputs_ = inputs;
            begun_ = true;
            return Done{};
        });
    }

    Result<std::vector<View>> wait() noexcept override {
        return guarded([&]() -> Result<std::vector<View>> {
            if (!begun_) return Error{"no batch was begun", "call start() first"};
            begun_ = false;
            std::vector<char const*> from, to;
            std::vector<Handle<OrtValue>> held;
            std::vector<OrtValue const*> feeds;
            for (View const& view : inputs_) {
                OrtValue* value = nullptr;
                Status const made =
                    status(api_->CreateTensorWithDataAsOrtValue(memory_.get(), const_cast<void*>(view.data), view.size(), view.shape.data(),
                                                                view.shape.size(), kTypes[static_cast<std::size_t>(view.type)], &value));
                if (!made) return made.error();
                held.push_back(own(value, api_->ReleaseValue));
                feeds.push_back(value);
                from.push_back(view.name.c_str());
            }
            for (Port const& port : manifest().outputs) to.push_back(port.name.c_str());
            std::vector<OrtValue*> got(to.size(), nullptr);
            Status const ran =
                status(api_->Run(session_.get(), nullptr, from.data(), feeds.data(), feeds.size(), to.data(), to.size(), got.data()));
            outputs_.clear();
            for (OrtValue* value : got)
                if (value != nullptr) outputs_.push_back(own(value, api_->ReleaseValue));
            if (!ran) return ran.error();
            return views();
        });
    }

 private:
    template <typename T>
    static Handle<T> own(T* handle, void (*release)(T*)) {
        return Handle<T>(handle, Releaser<T>{release});
    }

    Status status(OrtStatus* raw) const {
        if (raw == nullptr) return Done{};
        Handle<OrtStatus> const held = own(raw, api_->ReleaseStatus);
        std::string said = api_->GetErrorMessage(raw);
        for (char& c : said) c = c == '\n' ? ' ' : c;
        return Error{said, ""};
    }

    Result<std::vector<View>> views() const {
        std::vector<View> made;
        for (std::size_t k = 0; k < outputs_.size(); ++k) {
            View view;
            view.name = manifest().outputs[k].name;
            OrtTensorTypeAndShapeInfo* raw = nullptr;
            if (Status const got = status(api_->GetTensorTypeAndShape(outputs_[k].get(), &raw)); !got) return got.error();
            Handle<OrtTensorTypeAndShapeInfo> const info = own(raw, api_->ReleaseTensorTypeAndShapeInfo);
            ONNXTensorElementDataType type{};
            std::size_t rank = 0;
            void* data = nullptr;
            if (Status const got = status(api_->GetTensorElementType(raw, &type)); !got) return got.error();
            if (Status const got = status(api_->GetDimensionsCount(raw, &rank)); !got) return got.error();
            view.shape.resize(rank);
            if (Status const got = status(api_->GetDimensions(raw, view.shape.data(), rank)); !got) return got.error();
            if (Status const got = status(api_->GetTensorMutableData(outputs_[k].get(), &data)); !got) return got.error();
            view.data = data;
            view.type = manifest().outputs[k].type;
            if (type != kTypes[static_cast<std::size_t>(view.type)])
                return Error{"output " + view.name + " is of another type than the manifest says", "build again"};
            made.push_back(std::move(view));
        }
        return made;
    }

    Library library_;  // outlives what it made
    OrtApi const* api_;
    Handle<OrtEnv> env_;
    Handle<OrtSession> session_;
    Handle<OrtMemoryInfo> memory_;
    std::vector<View> inputs_;
    std::vector<Handle<OrtValue>> outputs_;
    bool begun_ = false;
};

}  // namespace

Result<std::unique_ptr<Engine>> openOnnxRuntime(std::filesystem::path const& engine, Manifest manifest, Options const& options) {
    char const* named = std::getenv("SE_ONNXRUNTIME");
    std::string const wanted = !options.onnxruntime.empty() ? options.onnxruntime : named != nullptr ? named : "";
    Result<Library> library = wanted.empty() ? Library::open({"libonnxruntime.so.1", "libonnxruntime.so"}) : Library::open({wanted});
    if (!library)
        return Error{"ONNX Runtime is not here: " + library.error().message, "install libonnxruntime, or name it in SE_ONNXRUNTIME"};
    auto* base = library.value().find<OrtApiBase const*()>("OrtGetApiBase");
    if (base == nullptr) return Error{library.value().name() + " is not ONNX Runtime", "name the right library in SE_ONNXRUNTIME"};
    OrtApi const* api = base()->GetApi(ORT_API_VERSION);
    if (api == nullptr)
        return Error{std::string("ONNX Runtime ") + base()->GetVersionString() + " is older than the header this was compiled with (API " +
                         std::to_string(ORT_API_VERSION) + ")",
                     "install a newer one, or compile with an older header"};
    auto made = std::make_unique<OnnxRuntime>(std::move(manifest), std::move(library.value()), api);
    Status const loaded = made->load(engine, options.threads);
    if (!loaded) return loaded.error();
    return std::unique_ptr<Engine>(std::move(made));
}

}  // namespace se::runtime

#else

namespace se::runtime {

Result<std::unique_ptr<Engine>> openOnnxRuntime(std::filesystem::path const& engine, Manifest, Options const&) {
    return Error{engine.string() + " needs ONNX Runtime, without whose header this was compiled",
                 "compile with -DSE_ONNXRUNTIME_INCLUDE=DIR"};
}

}  // namespace se::runtime

#endif
