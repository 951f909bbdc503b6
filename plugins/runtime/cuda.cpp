#include "cuda.h"

#include <array>

namespace se::runtime {

// The driver's functions by the names and types of cuda.h; CUresult and CUdevice are int, contexts and streams pointers, CUdeviceptr 64
// bits.
struct CudaApi {
    int (*init)(unsigned) = nullptr;
    int (*count)(int*) = nullptr;
    int (*device)(int*, int) = nullptr;
    int (*name)(char*, int, int) = nullptr;
    int (*attribute)(int*, int, int) = nullptr;
    int (*text)(int, char const**) = nullptr;
    int (*retain)(void**, int) = nullptr;
    int (*release)(int) = nullptr;
    int (*current)(void*) = nullptr;
    int (*newStream)(void**, unsigned) = nullptr;
    int (*endStream)(void*) = nullptr;
    int (*synchronise)(void*) = nullptr;
    int (*take)(uint64_t*, std::size_t) = nullptr;
    int (*give)(uint64_t) = nullptr;
    int (*takeHost)(void**, std::size_t) = nullptr;
    int (*giveHost)(void*) = nullptr;
    int (*in)(uint64_t, void const*, std::size_t, void*) = nullptr;
    int (*out)(void*, uint64_t, std::size_t, void*) = nullptr;

    //: False where the driver lacks one.
    bool bind(Library const& from) {
        return bind(from, init, "cuInit") && bind(from, count, "cuDeviceGetCount") && bind(from, device, "cuDeviceGet") &&
               bind(from, name, "cuDeviceGetName") && bind(from, attribute, "cuDeviceGetAttribute") &&
               bind(from, text, "cuGetErrorString") && bind(from, retain, "cuDevicePrimaryCtxRetain") &&
               bind(from, release, "cuDevicePrimaryCtxRelease_v2") && bind(from, current, "cuCtxSetCurrent") &&
               bind(from, newStream, "cuStreamCreate") && bind(from, endStream, "cuStreamDestroy_v2") &&
               bind(from, synchronise, "cuStreamSynchronize") && bind(from, take, "cuMemAlloc_v2") && bind(from, give, "cuMemFree_v2") &&
               bind(from, takeHost, "cuMemAllocHost_v2") && bind(from, giveHost, "cuMemFreeHost") &&
               bind(from, in, "cuMemcpyHtoDAsync_v2") && bind(from, out, "cuMemcpyDtoHAsync_v2");
    }

 private:
    template <typename Function>
    static bool bind(Library const& from, Function*& slot, char const* symbol) {
        slot = from.find<Function>(symbol);
        return slot != nullptr;
    }
};

namespace {

constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
constexpr unsigned kNonBlocking = 1;     // CU_STREAM_NON_BLOCKING

}  // namespace

Result<std::shared_ptr<Cuda>> Cuda::open(int number) {
    Result<Library> library = Library::open({"libcuda.so.1"});
    if (!library)
        return Error{"no GPU here: there is no NVIDIA driver (" + library.error().message + ")",
                     "run where there is one, or build with --backend onnxruntime"};
    std::shared_ptr<Cuda> made(new Cuda);
    made->library_ = std::move(library.value());
    made->api_ = std::make_unique<CudaApi>();
    if (!made->api_->bind(made->library_)) return Error{"this NVIDIA driver is too old", "install one of CUDA 12 or newer"};
    Status const started = made->start(number);
    if (!started) return started.error();
    return made;
}

Status Cuda::start(int number) {
    int count = 0, major = 0, minor = 0;
    std::array<char, 128> name{};
    if (Status const done = said(api_->init(0), "no GPU here"); !done) return done;
    if (Status const done = said(api_->count(&count), "no GPU here"); !done) return done;
    if (number < 0 || number >= count)
        return Error{"no GPU of number " + std::to_string(number) + " here: there are " + std::to_string(count), "choose another"};
    if (Status const done = said(api_->device(&device_, number), "cannot open the GPU"); !done) return done;
    api_->name(name.data(), static_cast<int>(name.size() - 1), device_);
    api_->attribute(&major, kMajor, device_);
    api_->attribute(&minor, kMinor, device_);
    name_ = name.data();
    target_ = "sm_" + std::to_string(major) + std::to_string(minor);
    if (Status const done = said(api_->retain(&context_, device_), "cannot open the GPU"); !done) return done;
    if (Status const done = enter(); !done) return done;
    return said(api_->newStream(&stream_, kNonBlocking), "cannot make a stream");
}

Cuda::~Cuda() {
    if (context_ == nullptr) return;
    api_->current(context_);
    if (stream_ != nullptr) api_->endStream(stream_);
    api_->release(device_);
}

Status Cuda::said(int code, char const* what) const {
    if (code == 0) return Done{};
    char const* text = nullptr;
    api_->text(code, &text);
    return Error{std::string(what) + ": " + (text == nullptr ? "CUDA error " + std::to_string(code) : text), "check it with nvidia-smi"};
}

Status Cuda::enter() const { return said(api_->current(context_), "cannot use the GPU"); }
Status Cuda::synchronise() const { return said(api_->synchronise(stream_), "the GPU failed"); }

Status Cuda::copyIn(uint64_t device, void const* host, std::size_t bytes) const {
    return said(api_->in(device, host, bytes, stream_), "cannot copy to the GPU");
}

Status Cuda::copyOut(void* host, uint64_t device, std::size_t bytes) const {
    return said(api_->out(host, device, bytes, stream_), "cannot copy from the GPU");
}

Cuda::Buffer::Buffer(Buffer&& other) noexcept
    : cuda_(std::move(other.cuda_)),
      device_(std::exchange(other.device_, 0)),
      host_(std::exchange(other.host_, nullptr)),
      bytes_(other.bytes_) {}

Cuda::Buffer::~Buffer() { free(); }

void Cuda::Buffer::free() {
    if (device_ != 0) cuda_->api_->give(std::exchange(device_, 0));
    if (host_ != nullptr) cuda_->api_->giveHost(std::exchange(host_, nullptr));
    bytes_ = 0;
}

Status Cuda::Buffer::reserve(std::size_t bytes) {
    if (bytes <= bytes_) return Done{};
    free();
    if (Status const got = cuda_->said(cuda_->api_->take(&device_, bytes), "no memory on the GPU"); !got) return got;
    if (Status const got = cuda_->said(cuda_->api_->takeHost(&host_, bytes), "no page-locked memory"); !got) return got;
    bytes_ = bytes;
    return Done{};
}

}  // namespace se::runtime
