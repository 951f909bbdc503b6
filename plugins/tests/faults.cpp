// Small kernels, right ones and wrong ones, that show what the CPU runner sees: faults NAME SEED. Prints "right" or "wrong", or aborts.
//
//   faults halves FILE    float32 values of FILE to half, bfloat16 and back, as FILE.out
#include <cstdio>
#include <fstream>
#include <map>

#include "cuda.cuh"

namespace {

constexpr int kThreads = 64;

//: Each thread puts its number and takes its mirror's.
void mirror(bool barrier, int* out) {
    int* shared = reinterpret_cast<int*>(se::blockShared());
    const int t = static_cast<int>(threadIdx.x);
    shared[t] = t;
    if (barrier) __syncthreads();
    out[t] = shared[kThreads - 1 - t];
}

bool mirrored(const int* out) {
    for (int t = 0; t < kThreads; ++t) {
        if (out[t] != kThreads - 1 - t) return false;
    }
    return true;
}

void mirrorKernel(int* out) { mirror(true, out); }
void noBarrier(int* out) { mirror(false, out); }

void halfOfThemWait(int* out) {
    if (threadIdx.x < 32) __syncthreads();
    out[threadIdx.x] = kThreads - 1 - static_cast<int>(threadIdx.x);
    if (threadIdx.x >= 32) __shfl_xor_sync(0xFFFFFFFFU, 0, 1);
}

void twoBarriers(int*) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

void oneBehind(int* out) {
    int* shared = reinterpret_cast<int*>(se::blockShared());
    shared[threadIdx.x + 1] = 1;
    out[threadIdx.x] = 0;
}

void neverWritten(int* out) {
    const float* shared = reinterpret_cast<const float*>(se::blockShared());
    out[threadIdx.x] = shared[threadIdx.x] == shared[threadIdx.x] ? 0 : kThreads - 1 - static_cast<int>(threadIdx.x);
}

void nobodyCounts(int* out) {
    static unsigned counter = 0;
    se::waitFor(&counter, 1);
    out[0] = 0;
}

void warpSums(int* out) {
    const int t = static_cast<int>(threadIdx.x);
    int sum = t % 32;
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFU, sum, step);
    const unsigned odd = __ballot_sync(0xFFFFFFFFU, t % 2 == 1);
    const bool right = sum == 496 && odd == 0xAAAAAAAAU && __any_sync(0xFFFFFFFFU, t % 32 == 7) && !__all_sync(0xFFFFFFFFU, t % 32 == 7) &&
                       __shfl_sync(0xFFFFFFFFU, t, 5) == t / 32 * 32 + 5;
    out[t] = right ? kThreads - 1 - t : -1;
}

//: Both blocks of a cluster of two put their number; block 0 takes the other's.
void cluster(bool last, int* out) {
    int* shared = reinterpret_cast<int*>(se::blockShared());
    const int t = static_cast<int>(threadIdx.x);
    const int block = static_cast<int>(blockIdx.x);
    shared[t] = block == 1 ? kThreads - 1 - t : 0;
    se::clusterSync();
    const int their = se::clusterPeer(shared, 1)[t];
    if (block == 0) out[t] = their;
    if (last) se::clusterSync();
}

void clusterKernel(int* out) { cluster(true, out); }
void peerHasEnded(int* out) { cluster(false, out); }

void halves(const char* path) {
    std::ifstream in(path, std::ios::binary);
    std::ofstream out(std::string(path) + ".out", std::ios::binary);
    float v;
    while (in.read(reinterpret_cast<char*>(&v), sizeof v)) {
        const __half half = __float2half_rn(v);
        const __nv_bfloat16 bfloat = __float2bfloat16_rn(v);
        const float back[2] = {__half2float(half), __bfloat162float(bfloat)};
        out.write(reinterpret_cast<const char*>(&half), 2).write(reinterpret_cast<const char*>(&bfloat), 2);
        out.write(reinterpret_cast<const char*>(back), sizeof back);
    }
}

}  // namespace

int main(int, char** arguments) {
    const std::map<std::string, void (*)(int*)> kernels = {
        {"mirror", mirrorKernel},   {"no-barrier", noBarrier},       {"half-of-them-wait", halfOfThemWait}, {"two-barriers", twoBarriers},
        {"one-behind", oneBehind},  {"never-written", neverWritten}, {"nobody-counts", nobodyCounts},       {"warps", warpSums},
        {"cluster", clusterKernel}, {"peer-has-ended", peerHasEnded},
    };
    const std::string name = arguments[1];
    if (name == "halves") {
        halves(arguments[2]);
        return 0;
    }
    const bool clustered = name == "cluster" || name == "peer-has-ended";
    Launch how;
    how.threads = kThreads;
    how.blocks = how.cluster = clustered ? 2 : 1;
    how.shared = kThreads * sizeof(int);
    simt::settings().seed = std::stoull(arguments[2]);
    int out[kThreads] = {};
    se::submit(kernels.at(name), how, nullptr, static_cast<int*>(out));
    std::puts(mirrored(out) ? "right" : "wrong");
    return 0;
}
