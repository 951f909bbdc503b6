// What the chooser wants to know of the current device.
#include <cuda_runtime_api.h>

#include "squeeze_excite.h"

namespace se {

cudaError_t currentDevice(Device& device) {
    int id = 0;
    cudaError_t status = cudaGetDevice(&id);
    int major = 0;
    int minor = 0;
    int multiprocessors = 0;
    int sharedPerBlock = 0;
    int sharedPerMultiprocessor = 0;
    int l2 = 0;
    const auto ask = [&](int& value, cudaDeviceAttr what) {
        if (status == cudaSuccess) status = cudaDeviceGetAttribute(&value, what, id);
    };
    ask(major, cudaDevAttrComputeCapabilityMajor);
    ask(minor, cudaDevAttrComputeCapabilityMinor);
    ask(multiprocessors, cudaDevAttrMultiProcessorCount);
    ask(sharedPerBlock, cudaDevAttrMaxSharedMemoryPerBlockOptin);
    ask(sharedPerMultiprocessor, cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    ask(l2, cudaDevAttrL2CacheSize);
    if (status != cudaSuccess) return status;
    device = {10 * major + minor, multiprocessors, sharedPerBlock, sharedPerMultiprocessor, l2};
    return cudaSuccess;
}

}  // namespace se
