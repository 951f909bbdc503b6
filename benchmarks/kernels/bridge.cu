// The kernels' door for ctypes: plain numbers and pointers in, CUDA's error code out.
#include "squeeze_excite.h"

extern "C" {

struct Node {
    int32_t type, layout, act, gate, skip, epilogue;
    float alpha, beta, leak, xScale, residualScale, yScale;
    int64_t n, c, r, hw;
};

static se::Op opOf(const Node& node) {
    se::Op op;
    op.type = static_cast<se::Type>(node.type);
    op.layout = static_cast<se::Layout>(node.layout);
    op.act = static_cast<se::Act>(node.act);
    op.gate = static_cast<se::Gate>(node.gate);
    op.skip = static_cast<se::Skip>(node.skip);
    op.epilogue = static_cast<se::Epilogue>(node.epilogue);
    op.alpha = node.alpha;
    op.beta = node.beta;
    op.leak = node.leak;
    op.xScale = node.xScale;
    op.residualScale = node.residualScale;
    op.yScale = node.yScale;
    return op;
}

static se::Shape shapeOf(const Node& node) { return {node.n, node.c, node.r, node.hw}; }

//: Bytes of workspace on the current device; 0 where there is none to ask.
__attribute__((visibility("default"))) int64_t bridgeWorkspace(const Node* node) {
    se::Device device;
    if (se::currentDevice(device) != cudaSuccess) return 0;
    return static_cast<int64_t>(se::workspaceBytes(opOf(*node), shapeOf(*node), device));
}

//: `device` is asked once and kept: the call is what a plugin's enqueue does.
__attribute__((visibility("default"))) int bridgeLaunch(const Node* node, const se::Tensors* tensors, void* workspace, int64_t bytes, void* stream) {
    static const se::Device device = [] {
        se::Device d;
        if (se::currentDevice(d) != cudaSuccess) d = {};
        return d;
    }();
    return static_cast<int>(se::launch(opOf(*node), shapeOf(*node), *tensors, workspace, static_cast<std::size_t>(bytes), device,
                                       static_cast<cudaStream_t>(stream)));
}

}  // extern "C"
