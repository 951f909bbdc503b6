// Runs the kernels on a CPU: run_cases FILE.. writes FILE.y and prints a line of JSON per case, then the barriers that were reached.
// `run_cases --plans` reads nodes and devices from stdin and prints which road each takes.
#include <cinttypes>

#include "case.h"

namespace {

void run(const std::string& path) {
    const cases::Case c = cases::readCase(path);
    cases::Buffer y(c.map);
    cases::Buffer workspace(static_cast<int64_t>(se::workspaceBytes(c.op, c.shape, c.device)));
    std::memset(workspace.memory.get(), 0xFF, workspace.bytes);  // NaNs
    const auto floats = [](const cases::Buffer& b) { return reinterpret_cast<const float*>(b.memory.get()); };
    const se::Tensors tensors{c.x.memory.get(), c.residual.memory.get(), floats(c.w1),    floats(c.b1),
                              floats(c.w2),     floats(c.b2),            floats(c.slope), y.memory.get()};
    simt::settings().seed = static_cast<uint64_t>(c.header.seed);
    simt::settings().sharedPerBlock = static_cast<std::size_t>(c.device.sharedPerBlock);
    const se::Plan plan = cases::planOf(c, c.device);
    simt::Traffic& traffic = simt::traffic();
    traffic.reset();
    if (c.header.counted != 0) {
        traffic.name("x", c.x.memory.get(), c.x.bytes, true);
        traffic.name("residual", c.residual.memory.get(), c.residual.bytes, false);
        traffic.name("y", y.memory.get(), y.bytes, false);
        traffic.name("w1", c.w1.memory.get(), c.w1.bytes, false);
        traffic.name("w2", c.w2.memory.get(), c.w2.bytes, false);
        traffic.cache(static_cast<uint64_t>(se::l2Budget(plan.road, c.device)));
    }
    const cudaError_t status =
        se::launchPlan(c.op, c.shape, tensors, workspace.memory.get(), workspace.bytes, c.device, plan, nullptr);
    cases::writeResult(path, y.memory.get(), c.map);
    std::printf("{\"status\": %d, \"road\": %d, \"blocks\": %d, \"groups\": %d, \"traffic\": %s}\n", static_cast<int>(status),
                static_cast<int>(plan.road), plan.blocks, plan.groups, traffic.json().c_str());
    std::fflush(stdout);
}

//: Reads one node and device a line (the numbers of Header's first fields) and prints what the chooser makes of it.
void plans() {
    int type = 0;
    int layout = 0;
    int act = 0;
    se::Shape s;
    se::Device d;
    while (std::scanf("%d %d %d %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %d %d %" SCNd64 " %" SCNd64 " %" SCNd64, &type, &layout, &act, &s.n, &s.c, &s.r, &s.hw, &d.sm, &d.multiprocessors,
                      &d.sharedPerBlock, &d.sharedPerMultiprocessor, &d.l2Bytes) == 12) {
        se::Op op;
        op.type = static_cast<se::Type>(type);
        op.layout = static_cast<se::Layout>(layout);
        op.act = static_cast<se::Act>(act);
        const se::Plan plan = se::choose(op, s, d);
        std::printf("{\"road\": %d, \"blocks\": %d, \"groups\": %d, \"shared\": %zu, \"jobs\": %d, \"workspace\": %zu}\n",
                    static_cast<int>(plan.road), plan.blocks, plan.groups, plan.shared, plan.pool.total, se::workspaceBytes(op, s, d));
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count == 2 && std::string(arguments[1]) == "--plans") {
        plans();
        return 0;
    }
    const char* skipped = std::getenv("SIMT_SKIP");  // file.cuh:12, the barrier that is left out
    if (skipped != nullptr) simt::settings().skipped = skipped;
    for (int i = 1; i < count; ++i) run(arguments[i]);
    for (const std::string& barrier : simt::reached()) std::printf("barrier %s\n", barrier.c_str());
    return 0;
}
