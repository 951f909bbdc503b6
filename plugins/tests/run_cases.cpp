// Runs the kernels on a CPU: run_cases FILE.. writes FILE.y and prints a line of JSON per case.
//
// `run_cases --plans` reads nodes and devices from stdin and prints which road each takes. A case file is the struct Header below, little-endian, then the arrays x, residual, w1, b1, w2, b2, slope: those that the op has.
// tests/plugins/cases.py writes and reads it.
#include <cstdio>
#include <fstream>
#include <memory>

#include "roads.h"

namespace {

struct Header {
    int32_t type, layout, act, gate, skip, epilogue;
    int32_t road;  // of enum Road; -1: the chooser's
    int32_t sm, multiprocessors, counted;
    int64_t n, c, r, hw;
    int64_t seed, onlyLast;
    int64_t sharedPerBlock, sharedPerMultiprocessor, l2Bytes;
    float alpha, beta, leak, xScale, residualScale, yScale;
};

//: Memory of exactly that many bytes, so that AddressSanitizer sees the first one behind.
struct Buffer {
    explicit Buffer(std::size_t size) : bytes(size) {
        void* p = nullptr;
        if (posix_memalign(&p, 256, size) != 0) simt::fail("no memory");
        memory.reset(static_cast<char*>(p));
    }
    struct Free {
        void operator()(char* p) const { std::free(p); }
    };
    std::unique_ptr<char, Free> memory;
    std::size_t bytes;
};

Buffer readArray(std::ifstream& file, int64_t bytes) {
    Buffer buffer(static_cast<std::size_t>(bytes));
    if (!file.read(buffer.memory.get(), bytes)) simt::fail("a case file ends early");
    return buffer;
}

se::Plan planOf(const Header& h, const se::Op& op, const se::Shape& shape, const se::Device& device) {
    if (h.road < 0) return se::choose(op, shape, device);
    const auto road = static_cast<se::Road>(h.road);
    if (road == se::Road::kSplit) return se::splitPlan(op, shape, device);
    const auto plan = road == se::Road::kCluster ? se::clusterPlan(op, shape, device) : se::persistentPlan(op, shape, device);
    if (!plan) simt::fail("a case that its road cannot take");
    return *plan;
}

void run(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    Header h;
    if (!file.read(reinterpret_cast<char*>(&h), sizeof h)) simt::fail("no case in " + path);
    se::Op op;
    op.type = static_cast<se::Type>(h.type);
    op.layout = static_cast<se::Layout>(h.layout);
    op.act = static_cast<se::Act>(h.act);
    op.gate = static_cast<se::Gate>(h.gate);
    op.skip = static_cast<se::Skip>(h.skip);
    op.epilogue = static_cast<se::Epilogue>(h.epilogue);
    op.alpha = h.alpha;
    op.beta = h.beta;
    op.leak = h.leak;
    op.xScale = h.xScale;
    op.residualScale = h.residualScale;
    op.yScale = h.yScale;
    const se::Shape shape{h.n, h.c, h.r, h.hw};
    const se::Device device{h.sm, h.multiprocessors, h.sharedPerBlock, h.sharedPerMultiprocessor, h.l2Bytes};

    const int64_t map = se::geometryOf(op.layout, shape).image * h.n * se::sizeOf(op.type);
    const int64_t columns = se::columnsOf(op, shape);
    const bool two = op.act != se::Act::kNone;
    const Buffer x = readArray(file, map);
    const Buffer residual = readArray(file, op.skip == se::Skip::kAdd ? map : 0);
    const Buffer w1 = readArray(file, two ? 4 * h.r * h.c : 0);
    const Buffer b1 = readArray(file, two ? 4 * h.r : 0);
    const Buffer w2 = readArray(file, 4 * columns * h.c);
    const Buffer b2 = readArray(file, 4 * h.c);
    const Buffer slope = readArray(file, op.act == se::Act::kPRelu ? 4 * h.r : 0);
    Buffer y(static_cast<std::size_t>(map));
    Buffer workspace(se::workspaceBytes(op, shape, device));
    std::memset(workspace.memory.get(), 0xFF, workspace.bytes);  // NaNs

    const auto floats = [](const Buffer& b) { return reinterpret_cast<const float*>(b.memory.get()); };
    const se::Tensors tensors{x.memory.get(), residual.memory.get(), floats(w1), floats(b1), floats(w2), floats(b2), floats(slope),
                              y.memory.get()};
    simt::settings().seed = static_cast<uint64_t>(h.seed);
    simt::settings().sharedPerBlock = static_cast<std::size_t>(h.sharedPerBlock);
    const se::Plan plan = planOf(h, op, shape, device);
    simt::Traffic& traffic = simt::traffic();
    traffic.reset();
    if (h.counted != 0) {
        traffic.name("x", x.memory.get(), x.bytes, true);
        traffic.name("residual", residual.memory.get(), residual.bytes, false);
        traffic.name("y", y.memory.get(), y.bytes, false);
        traffic.name("w1", w1.memory.get(), w1.bytes, false);
        traffic.name("w2", w2.memory.get(), w2.bytes, false);
        traffic.cache(static_cast<uint64_t>(se::l2Budget(plan.road, device)));
    }
    const cudaError_t status =
        se::launchPlan(op, shape, tensors, workspace.memory.get(), workspace.bytes, device, plan, nullptr);
    std::ofstream(path + ".y", std::ios::binary).write(y.memory.get(), static_cast<std::streamsize>(y.bytes));
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
    while (std::scanf("%d %d %d %ld %ld %ld %ld %d %d %ld %ld %ld", &type, &layout, &act, &s.n, &s.c, &s.r, &s.hw, &d.sm, &d.multiprocessors,
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
