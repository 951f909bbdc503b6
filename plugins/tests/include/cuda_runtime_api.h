// What the door (squeeze_excite.h) and the roads need of CUDA's runtime, on a machine without it.
#pragma once

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorLaunchOutOfResources = 701,
    cudaErrorCooperativeLaunchTooLarge = 720,
    cudaErrorInvalidClusterSize = 912,
};
using cudaStream_t = void*;
