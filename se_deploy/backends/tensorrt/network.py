"""In the process that builds: the plugin loaded, the ONNX file parsed, its plugin layers counted, its layers written down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from se_deploy import op
from se_deploy.backends.tensorrt.job import Job
from se_deploy.backends.tensorrt.messages import Messages
from se_deploy.backends.tensorrt.telling import BuildFailed


@dataclass(frozen=True)
class Parsed:
    """TensorRT's objects; the parser owns memory that the network uses."""

    trt: Any
    builder: Any
    network: Any
    parser: Any

    def layers(self) -> list[Any]:
        """The network's layers, in order."""
        return [self.network.get_layer(i) for i in range(self.network.num_layers)]


def load_plugin(job: Job, messages: Messages) -> None:
    """Registers the library's creators; every node must have one."""
    trt: Any = import_module(job.module)
    if job.plugin is None:
        return
    registry = trt.get_plugin_registry()
    if registry.load_library(job.plugin) is None:
        raise BuildFailed("library", (messages.errors() or ["it has no creators that TensorRT takes"])[0])
    kinds = dict.fromkeys(kind for _, kind in job.nodes)
    missing = [kind for kind in kinds if registry.get_creator(kind, op.PLUGIN_VERSION, op.DOMAIN) is None]
    if missing:
        raise BuildFailed("creator", ", ".join(missing))


def parse(job: Job, messages: Messages) -> Parsed:
    """The network of the ONNX file, whose types are laws."""
    from polygraphy.backend.trt import create_network
    from polygraphy.backend.trt.util import get_trt_logger

    trt: Any = import_module(job.module)
    builder, network = create_network(strongly_typed=True)
    parser = trt.OnnxParser(network, get_trt_logger())
    if not parser.parse_from_file(job.model):
        first = parser.get_error(0) if parser.num_errors else None
        said = [*messages.errors(), *([first.desc()] if first is not None else [])]
        node, kind = (first.node_name(), first.node_operator()) if first is not None else ("", "")
        raise BuildFailed("parse", said[0] if said else "no reason given", node=node, operator=kind)
    return Parsed(trt, builder, network, parser)


def count(job: Job, parsed: Parsed) -> int:
    """How many nodes became plugin layers; without a plugin none has to."""
    plugins = {layer.name for layer in parsed.layers() if layer.type == parsed.trt.LayerType.PLUGIN_V3}
    missing = [name for name, _ in job.nodes if name not in plugins]
    if job.plugin is not None and missing:
        raise BuildFailed("layers", f"{len(job.nodes) - len(missing)} of {len(job.nodes)}", nodes=missing)
    _write_layers(job, parsed)
    return len(job.nodes) - len(missing)


def _write_layers(job: Job, parsed: Parsed) -> None:
    """The network's layers, as TensorRT was given them; an engine without a GPU tells nothing of its own."""
    kinds = dict(job.nodes)
    layers = [
        {
            "name": layer.name,
            "type": str(layer.type).rpartition(".")[2],
            "plugin": kinds.get(layer.name) if layer.type == parsed.trt.LayerType.PLUGIN_V3 else None,
            "inputs": [_tensor(layer.get_input(i)) for i in range(layer.num_inputs)],
            "outputs": [_tensor(layer.get_output(i)) for i in range(layer.num_outputs)],
        }
        for layer in parsed.layers()
    ]
    write(Path(job.layers), json.dumps({"layers": layers}, indent=1).encode())


def _tensor(tensor: Any) -> dict[str, Any] | None:
    """A tensor's name, type and shape (-1 where it is dynamic); None where an input is left out."""
    if tensor is None:
        return None
    return {"name": tensor.name, "dtype": str(tensor.dtype).rpartition(".")[2], "shape": list(tensor.shape)}


def write(path: Path, content: Any) -> None:
    """Writes a file; what the disk says goes to the parent."""
    try:
        with path.open("wb") as file:
            file.write(content)
    except OSError as error:
        raise BuildFailed("write", error.strerror or str(error), errno=error.errno, file=path.name) from error
