"""Builds an engine of many variants in one type and one format, and runs it where there is a GPU: a script, since TensorRT-RTX wants its
environment set before a process starts.

    python -m tests.backends.tensorrt.formats MODULE PLUGIN MODEL.onnx FORMAT OUT.plan [FEEDS.npz ANSWERS.npz]

Network inputs and outputs are bound in FORMAT, so that TensorRT has nothing to reformat: the plugin itself runs in it. Prints how many
plugin layers there are, and whether the engine was built. FEEDS hold bytes as the device has them; ANSWERS get the outputs' bytes.
"""

import sys
from importlib import import_module
from pathlib import Path

FORMATS = {"linear": "LINEAR", "hwc8": "HWC8", "hwc16": "HWC16", "chw32": "CHW32"}


def main(module: str, plugin: str, model: str, layout: str, plan: str, feeds: str = "", answers: str = "") -> None:
    trt = import_module(module)
    from polygraphy.backend.trt import create_network
    from polygraphy.backend.trt.util import get_trt_logger

    assert trt.get_plugin_registry().load_library(plugin) is not None
    builder, network = create_network(strongly_typed=True)
    parser = trt.OnnxParser(network, get_trt_logger())
    assert parser.parse_from_file(model), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    bound = [network.get_input(i) for i in range(network.num_inputs)] + [network.get_output(i) for i in range(network.num_outputs)]
    for tensor in bound:
        tensor.allowed_formats = 1 << int(getattr(trt.TensorFormat, FORMATS[layout]))
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.DIRECT_IO)
    if module == "tensorrt_rtx" and not feeds:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    made = builder.build_serialized_network(network, config)
    print(sum(layer.type == trt.LayerType.PLUGIN_V3 for layer in layers), made is not None)
    if made is None:
        sys.exit(1)
    Path(plan).write_bytes(memoryview(made))
    if feeds:
        run(trt, memoryview(made), feeds, answers)


def run(trt, plan, feeds: str, answers: str) -> None:  # noqa: ANN001
    """One inference of raw bytes."""
    import numpy as np
    import torch
    from polygraphy.backend.trt.util import get_trt_logger

    engine = trt.Runtime(get_trt_logger()).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    stream = torch.cuda.Stream()
    tensors = {name: torch.from_numpy(value.view(np.uint8).copy()).cuda() for name, value in np.load(feeds).items()}
    size = len(tensors["x"])
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    tensors |= {name: torch.empty(size, dtype=torch.uint8, device="cuda") for name in names if name not in tensors}
    for name in names:
        context.set_tensor_address(name, tensors[name].data_ptr())
    torch.cuda.synchronize()
    assert context.execute_async_v3(stream.cuda_stream)
    stream.synchronize()
    np.savez(answers, **{name: tensors[name].cpu().numpy() for name in names if name.startswith("y")})


if __name__ == "__main__":
    main(*sys.argv[1:])
