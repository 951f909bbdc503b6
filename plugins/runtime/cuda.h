// What of CUDA's driver API the loader needs, from libcuda.so.1 opened at run time: no CUDA runtime, whose version would have to fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "library.h"
#include "result.h"

namespace se::runtime {

struct CudaApi;  // the driver's functions

//: A GPU's primary context, the one that TensorRT uses too, and a stream in it.
class Cuda {
 public:
    //: Device `number`; an error that says what is missing where there is no driver, no GPU, or none of that number.
    static Result<std::shared_ptr<Cuda>> open(int number);
    ~Cuda();
    Cuda(Cuda const&) = delete;
    Cuda& operator=(Cuda const&) = delete;

    //: "sm_89"
    std::string const& target() const { return target_; }
    std::string const& name() const { return name_; }

    //: Makes this context the calling thread's.
    Status enter() const;
    void* stream() const { return stream_; }
    Status copyIn(uint64_t device, void const* host, std::size_t bytes) const;
    Status copyOut(void* host, uint64_t device, std::size_t bytes) const;
    Status synchronise() const;

    //: Memory of the device and page-locked memory of the host, of one size; grown, never shrunk.
    class Buffer {
     public:
        explicit Buffer(std::shared_ptr<Cuda> cuda) : cuda_(std::move(cuda)) {}
        Buffer(Buffer&& other) noexcept;
        ~Buffer();
        Status reserve(std::size_t bytes);
        uint64_t device() const { return device_; }
        void* host() const { return host_; }

     private:
        void free();

        std::shared_ptr<Cuda> cuda_;
        uint64_t device_ = 0;
        void* host_ = nullptr;
        std::size_t bytes_ = 0;
    };

 private:
    Cuda() = default;
    Status start(int number);
    Status said(int code, char const* what) const;

    Library library_;
    std::unique_ptr<CudaApi> api_;
    int device_ = 0;
    void* context_ = nullptr;
    void* stream_ = nullptr;
    std::string target_, name_;
};

}  // namespace se::runtime
