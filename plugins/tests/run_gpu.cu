// Runs the kernels on the GPU that is there: run_gpu FILE.. writes FILE.y and prints a line of JSON per case. Needs no TensorRT.
//
// Each case runs twice on poisoned memory; other bits the second time are a failure.
#include <vector>

#include <cuda_runtime.h>

#include "case.h"

namespace {

void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) cases::stop(std::string(what) + ": " + cudaGetErrorString(status));
}

//: Memory of the device; freed with the process.
char* onDevice(const cases::Buffer& from) {
    void* p = nullptr;
    check(cudaMalloc(&p, from.bytes == 0 ? 1 : from.bytes), "cudaMalloc");
    check(cudaMemcpy(p, from.memory.get(), from.bytes, cudaMemcpyHostToDevice), "to the device");
    return static_cast<char*>(p);
}

std::vector<char> launched(const cases::Case& c, const se::Device& device, const se::Plan& plan, const se::Tensors& tensors,
                           void* workspace) {
    const std::size_t size = se::workspaceBytes(c.op, c.shape, device);
    check(cudaMemset(workspace, 0xFF, size), "poison");
    check(cudaMemset(tensors.y, 0xFF, static_cast<std::size_t>(c.map)), "poison");
    check(se::launchPlan(c.op, c.shape, tensors, workspace, size, device, plan, nullptr), "launch");
    check(cudaDeviceSynchronize(), "run");
    std::vector<char> y(static_cast<std::size_t>(c.map));
    check(cudaMemcpy(y.data(), tensors.y, y.size(), cudaMemcpyDeviceToHost), "from the device");
    return y;
}

void run(const std::string& path) {
    const cases::Case c = cases::readCase(path);
    se::Device device;
    check(se::currentDevice(device), "currentDevice");
    const auto floats = [](const cases::Buffer& b) { return reinterpret_cast<const float*>(onDevice(b)); };
    const se::Tensors tensors{onDevice(c.x), onDevice(c.residual), floats(c.w1),    floats(c.b1),
                              floats(c.w2),  floats(c.b2),         floats(c.slope), onDevice(cases::Buffer(c.map))};
    char* workspace = onDevice(cases::Buffer(static_cast<int64_t>(se::workspaceBytes(c.op, c.shape, device))));
    const se::Plan plan = cases::planOf(c, device);
    const std::vector<char> y = launched(c, device, plan, tensors, workspace);
    if (launched(c, device, plan, tensors, workspace) != y) cases::stop("the second run gave other bits");
    cases::writeResult(path, y.data(), c.map);
    std::printf("{\"status\": 0, \"road\": %d, \"blocks\": %d, \"groups\": %d}\n", static_cast<int>(plan.road), plan.blocks, plan.groups);
    std::fflush(stdout);
    const se::Tensors& t = tensors;
    for (const void* p : std::initializer_list<const void*>{t.x, t.residual, t.w1, t.b1, t.w2, t.b2, t.slope, t.y, workspace}) {
        check(cudaFree(const_cast<void*>(p)), "cudaFree");
    }
}

}  // namespace

int main(int count, char** arguments) {
    for (int i = 1; i < count; ++i) run(arguments[i]);
    return 0;
}
