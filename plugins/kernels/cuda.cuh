// What differs between nvcc and the CPU: with nvcc (here) CUDA's own headers, with g++ and SE_SIMT the header plugins/tests/simt.h,
// which offers the same names. Every other file is the same source for both.
#pragma once

#include <cstddef>
#include <cstdint>

//: How a kernel is launched. `cluster` > 1: that many blocks are one thread-block cluster; `cooperative`: all blocks are resident at once.
struct Launch {
    int64_t blocks = 1;
    int32_t threads = 1;
    std::size_t shared = 0;  // bytes of dynamic shared memory a block
    int32_t cluster = 1;
    bool cooperative = false;
};

#ifdef SE_SIMT

#include "simt.h"

#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace se {

//: The block's dynamic shared memory; all shared memory of these kernels is carved out of it.
__device__ __forceinline__ unsigned char* blockShared() {
    extern __shared__ uint4 raw[];
    return reinterpret_cast<unsigned char*>(raw);
}

// A cluster's barrier and its blocks' shared memory; sm_90 and up. Below, the cluster kernel is empty and is never launched.
__device__ __forceinline__ void clusterSync() {
#if __CUDA_ARCH__ >= 900
    __cluster_barrier_arrive();
    __cluster_barrier_wait();
#endif
}

//: Where `pointer`, into this block's shared memory, lies in that of block `rank` of the cluster.
template <typename T>
__device__ __forceinline__ const T* clusterPeer(const T* pointer, int rank) {
#if __CUDA_ARCH__ >= 900
    return static_cast<const T*>(__cluster_map_shared_rank(const_cast<T*>(pointer), static_cast<unsigned>(rank)));
#else
    return pointer;
#endif
}

//: One thread waits until `counter` has reached `target`; what was written before the others added to it is visible then.
__device__ __forceinline__ void waitFor(const unsigned* counter, unsigned target) {
    while (static_cast<int>(*static_cast<const volatile unsigned*>(counter) - target) < 0) {
    }
    __threadfence();
}

//: A read that sees what another block of the same launch wrote (past this multiprocessor's L1).
__device__ __forceinline__ float readFresh(const float* pointer) { return __ldcg(pointer); }

// Hooks of the CPU's byte counter.
template <typename T>
__device__ __forceinline__ void countRead(const T*, int = 1) {}
template <typename T>
__device__ __forceinline__ void countWrite(const T*, int = 1) {}

//: Enqueues `kernel`; returns what the launch returned.
template <typename... Parameters, typename... Arguments>
cudaError_t submit(void (*kernel)(Parameters...), const Launch& how, cudaStream_t stream, const Arguments&... arguments) {
    constexpr std::size_t kWithoutAsking = 48 * 1024;
    if (how.shared > kWithoutAsking) {
        const auto bytes = static_cast<int>(how.shared);
        const cudaError_t status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
        if (status != cudaSuccess) return status;
    }
    cudaLaunchAttribute attributes[2] = {};
    unsigned count = 0;
    if (how.cluster > 1) {
        attributes[count].id = cudaLaunchAttributeClusterDimension;
        attributes[count].val.clusterDim.x = static_cast<unsigned>(how.cluster);
        attributes[count].val.clusterDim.y = attributes[count].val.clusterDim.z = 1;
        ++count;
    }
    if (how.cooperative) {
        attributes[count].id = cudaLaunchAttributeCooperative;
        attributes[count++].val.cooperative = 1;
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>(how.blocks));
    config.blockDim = dim3(static_cast<unsigned>(how.threads));
    config.dynamicSmemBytes = how.shared;
    config.stream = stream;
    config.attrs = attributes;
    config.numAttrs = count;
    return cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
}

}  // namespace se

#endif
