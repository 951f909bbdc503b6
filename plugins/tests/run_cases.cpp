// Runs the kernels on a CPU: run_cases FILE.. writes FILE.y and prints a line of JSON per case, then the barriers that were reached.
// `run_cases --plans` reads nodes and devices from stdin and prints which road each takes.
#include <sys/mman.h>

#include <cinttypes>
#include <vector>

#include "case.h"

namespace {

//: Address space for all of a tensor; only the pages that are touched take memory.
char* farMemory(int64_t bytes) {
    void* p = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) cases::stop("no address space");
    return static_cast<char*>(p);
}

//: A case of which only the last images are given: x lies at the end of a tensor of n images, and the last blocks of each launch run.
void runEnd(const std::string& path, const cases::Case& c) {
    const int64_t all = se::imageBytes(c.op, c.shape) * c.shape.n;
    const std::size_t room = se::workspaceBytes(c.op, c.shape, c.device);
    char* x = farMemory(all);
    char* y = farMemory(all);
    char* workspace = farMemory(static_cast<int64_t>(room));
    std::memcpy(x + all - c.map, c.x.memory.get(), c.x.bytes);
    const auto floats = [](const cases::Buffer& b) { return reinterpret_cast<const float*>(b.memory.get()); };
    const se::Tensors tensors{x, nullptr, floats(c.w1), floats(c.b1), floats(c.w2), floats(c.b2), floats(c.slope), y};
    constexpr int64_t kBlocksAnImage = 8;  // at least; blocks of images before compute zeros
    simt::settings().onlyLast = c.header.onlyLast * kBlocksAnImage;
    const cudaError_t status = se::launchPlan(c.op, c.shape, tensors, workspace, room, c.device, cases::planOf(c, c.device), nullptr);
    simt::settings().onlyLast = 0;
    cases::writeResult(path, y + all - c.map, c.map);
    std::printf("{\"status\": %d}\n", static_cast<int>(status));
    munmap(x, static_cast<std::size_t>(all));
    munmap(y, static_cast<std::size_t>(all));
    munmap(workspace, room);
}

void run(const std::string& path) {
    const cases::Case c = cases::readCase(path);
    if (c.header.onlyLast > 0) return runEnd(path, c);
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

//: Calls that cannot be, and what `launch` says: a line each.
void refusals() {
    alignas(16) static unsigned char memory[1 << 12];
    auto* floats = reinterpret_cast<float*>(memory);
    const se::Device device{80, 1, 99 << 10, 100 << 10, 1 << 20};
    const auto say = [&](const char* what, const se::Op& op, const se::Shape& shape, const se::Tensors& tensors, std::size_t missing = 0,
                         bool workspace = true) {
        std::vector<unsigned char> room(se::workspaceBytes(op, shape, device) + 1);
        void* given = workspace ? room.data() : nullptr;
        const cudaError_t status = se::launch(op, shape, tensors, given, room.size() - 1 - missing, device, nullptr);
        std::printf("%s: %d\n", what, static_cast<int>(status));
    };
    const se::Op op;
    const se::Shape shape{1, 2, 2, 4};
    const se::Tensors all{memory, memory, floats, floats, floats, floats, floats, memory + 2048};
    const auto with = [](auto value, auto change) {
        change(value);
        return value;
    };
    say("right", op, shape, all);
    say("no image", op, with(shape, [](se::Shape& s) { s.n = 0; }), all);
    say("no channel", op, with(shape, [](se::Shape& s) { s.c = 0; }), all);
    say("no position", op, with(shape, [](se::Shape& s) { s.hw = 0; }), all);
    say("no hidden channel", op, with(shape, [](se::Shape& s) { s.r = 0; }), all);
    say("2^31 positions", op, with(shape, [](se::Shape& s) { s.hw = int64_t{1} << 31; }), all);
    say("no x", op, shape, with(all, [](se::Tensors& t) { t.x = nullptr; }));
    say("no y", op, shape, with(all, [](se::Tensors& t) { t.y = nullptr; }));
    say("no w1", op, shape, with(all, [](se::Tensors& t) { t.w1 = nullptr; }));
    say("no b2", op, shape, with(all, [](se::Tensors& t) { t.b2 = nullptr; }));
    say("x not aligned", op, shape, with(all, [](se::Tensors& t) { t.x = static_cast<const char*>(t.x) + 4; }));
    say("no slope", with(op, [](se::Op& o) { o.act = se::Act::kPRelu; }), shape, with(all, [](se::Tensors& t) { t.slope = nullptr; }));
    say("no residual", with(op, [](se::Op& o) { o.skip = se::Skip::kAdd; }), shape,
        with(all, [](se::Tensors& t) { t.residual = nullptr; }));
    say("a layout of int8", with(op, [](se::Op& o) { o.layout = se::Layout::kCHW32; }), shape, all);
    say("a layout of half", with(op, [](se::Op& o) { o.type = se::Type::kInt8, o.layout = se::Layout::kHWC8; }), shape, all);
    say("a scale of zero", with(op, [](se::Op& o) { o.type = se::Type::kInt8, o.yScale = 0.0F; }), shape, all);
    say("a byte too few", op, shape, all, 1);
    say("no workspace", op, shape, all, 0, false);
}

//: Reads one node and device a line (the numbers of Header's first fields) and prints what the chooser makes of it.
void plans() {
    int type = 0;
    int layout = 0;
    int act = 0;
    se::Shape s;
    se::Device d;
    while (std::scanf("%d %d %d %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %d %d %" SCNd64 " %" SCNd64 " %" SCNd64, &type, &layout,
                      &act, &s.n, &s.c, &s.r, &s.hw, &d.sm, &d.multiprocessors,
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
    if (count == 2 && std::string(arguments[1]) == "--refusals") {
        refusals();
        return 0;
    }
    const char* skipped = std::getenv("SIMT_SKIP");  // file.cuh:12, the barrier that is left out
    if (skipped != nullptr) simt::settings().skipped = skipped;
    const char* refused = std::getenv("SIMT_NO_ROOM");  // the error of launches whose blocks must be resident together
    if (refused != nullptr) simt::settings().noRoom = std::atoi(refused);
    for (int i = 1; i < count; ++i) run(arguments[i]);
    for (const std::string& barrier : simt::reached()) std::printf("barrier %s\n", barrier.c_str());
    return 0;
}
