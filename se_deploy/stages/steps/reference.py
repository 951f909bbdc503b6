"""The live reference: the PyTorch network made again from an export's weights, without the checkpoint; else plain.onnx in FP32."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model
from torch import nn

from se_deploy import backends
from se_deploy.artifacts import FileRef, ModelManifest
from se_deploy.errors import ArtifactError, LoadError
from se_deploy.files import sha256
from se_deploy.networks.build import build
from se_deploy.verify.equal import Ranges
from se_deploy.verify.rows import in_batches
from se_deploy.verify.samples import Probes

Tensors = dict[str, NDArray[Any]]
Answer = Callable[[Mapping[str, NDArray[Any]]], Tensors]

#: How far a rebuilt network may be from what the export recorded, as a share of the output's range: other threads and batch sizes
#: round differently.
REBUILT = 1e-3


@dataclass(frozen=True)
class Reference:
    """What engines are compared with; `answer` takes one batch by input name and gives every output by name."""

    kind: Literal["pytorch", "onnx"]
    answer: Answer
    probes: Probes
    notes: tuple[str, ...] = ()


def default_threads() -> int:
    """PyTorch's own choice, before anything sets it."""
    return torch.get_num_threads()


@contextmanager
def opened(folder: Path, manifest: ModelManifest, threads: int) -> Iterator[Reference]:
    """Opens an export's reference, with the probes that were recorded beside it.

    Raises:
        ArtifactError: a file is missing or has changed, or the rebuilt network does not answer what was recorded.
    """
    probes = Probes.read(_whole(folder, manifest.reference))
    with ExitStack() as stack:
        if manifest.weights is None:
            runner = stack.enter_context(backends.get("onnxruntime").open(_whole(folder, manifest.plain), threads=threads))
            why = "its source is an .onnx file" if manifest.exporter == "onnx" else "its code came with the checkpoint alone"
            fixed = manifest.inputs[0].shape[0]
            answer = partial(in_batches, runner.run, batch=fixed, who="plain.onnx") if isinstance(fixed, int) else runner.run
            yield Reference("onnx", answer, probes, (f"{manifest.name} has no PyTorch network, {why}: plain.onnx in FP32 stands in",))
        else:
            stack.enter_context(_threads(threads))
            module = _rebuilt(_whole(folder, manifest.weights))
            network = _answering(module, [i.name for i in manifest.inputs], [o.name for o in manifest.outputs])
            _check(network, probes, folder)
            yield Reference("pytorch", network, probes)


def _whole(folder: Path, file: FileRef) -> Path:
    path = folder / file.file
    if not path.is_file() or sha256(path) != file.sha256:
        raise ArtifactError(f"{path} is {'not what the manifest describes' if path.exists() else 'missing'}", "export the model again")
    return path


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rebuilt(path: Path) -> nn.Module:
    """The network that a weights.safetensors describes, in eval mode."""
    try:
        with safe_open(path, framework="pt") as file:
            described = file.metadata() or {}
        module = build(described["arch"], **json.loads(described["kwargs"]))
        load_model(module, path)
    except (KeyError, ValueError, TypeError, RuntimeError, SafetensorError, LoadError) as error:
        raise ArtifactError(f"no network can be made from {path}: {error}", "export the model again with the libraries of today") from error
    return module.eval()


def _answering(module: nn.Module, inputs: list[str], outputs: list[str]) -> Answer:
    def answer(feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        with torch.inference_mode():
            made = module(*(torch.from_numpy(feeds[name]) for name in inputs))
        return {name: value.numpy() for name, value in zip(outputs, _flat(made), strict=True)}

    return answer


def _flat(made: Any) -> list[torch.Tensor]:
    """A network's outputs in the order in which exporters write them."""
    if isinstance(made, torch.Tensor):
        return [made]
    return [tensor for part in (made.values() if isinstance(made, Mapping) else made) for tensor in _flat(part)]


def _check(answer: Answer, probes: Probes, folder: Path) -> None:
    """Another version of a library may build another network from the same weights: two probes tell."""
    chunk = next(probes.chunks(2))
    found = Ranges.of([probes.expected]).difference(answer(chunk.feeds), chunk.expected or {}, REBUILT)
    if found is not None:
        raise ArtifactError(
            f"the network made again from {folder} does not answer what PyTorch answered at export: {found}",
            "export the model again with the libraries of today",
        )
