"""A small network's model directory and engines, with faults where a test wants them."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file

from se_deploy import artifacts
from se_deploy.artifacts import EngineManifest, FileRef, InputSpec, ModelManifest, OutputSpec, Preprocess, SourceRef
from se_deploy.verify.probes import probes
from tests.graph.exported import shaken

ARCH, CLASSES, SIZE = "mobilenetv3_small_050", 10, 32
HOW = Preprocess(resize=SIZE, crop=SIZE)
PROBES = 16


def model(folder: Path, *, batch: int | None = None, pytorch: bool = True, labels: tuple[str, ...] | None = None) -> Path:
    """What `export` leaves: plain.onnx, model.onnx (nothing fused: bench does not care), weights, probes with answers, the manifest."""
    folder.mkdir(parents=True)
    module = shaken(ARCH, num_classes=CLASSES)
    inputs = torch.from_numpy(probes(PROBES, (3, SIZE, SIZE), HOW))
    with torch.inference_mode():
        module.classifier.weight *= 20  # so that the answers are of several classes, and most are clear
        module.classifier.bias -= module(inputs).mean(dim=0)
        answers = module(inputs).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.randn(batch or 2, 3, SIZE, SIZE),),
            folder / "plain.onnx",
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={} if batch else {"input": [0], "logits": [0]},
        )
    shutil.copy(folder / "plain.onnx", folder / "model.onnx")
    np.savez(folder / "reference.npz", **{"input.input": inputs.numpy(), "output.logits": answers})
    save_file(module.state_dict(), folder / "weights.safetensors", {"arch": f"timm:{ARCH}", "kwargs": json.dumps({"num_classes": CLASSES})})
    sizes = [(batch, 3, SIZE, SIZE)] * 3 if batch else [(n, 3, SIZE, SIZE) for n in (1, 8, 32)]
    first = batch or "batch"
    refs = {name: FileRef.of(folder / f"{name}.onnx") for name in ("model", "plain")}
    artifacts.write(
        ModelManifest(
            name=folder.name,
            source=SourceRef(file=f"{ARCH}.pt", sha256="0" * 64, arch=f"timm:{ARCH}"),
            **refs,
            weights=FileRef.of(folder / "weights.safetensors") if pytorch else None,
            reference=FileRef.of(folder / "reference.npz"),
            exporter="torchscript" if pytorch else "onnx",
            opset=17,
            versions={},
            inputs=(InputSpec(name="input", dtype="float32", shape=(first, 3, SIZE, SIZE), min=sizes[0], opt=sizes[1], max=sizes[2]),),
            outputs=(OutputSpec(name="logits", dtype="float32", shape=(first, CLASSES)),),
            preprocess=HOW,
            labels=labels,
            se_blocks=9,
        ),
        folder / "manifest.json",
    )
    return folder


def engine(folder: Path, change: Callable[[onnx.ModelProto], None] | None = None, name: str = "engine.onnx", **manifest: object) -> Path:
    """What `build` leaves beside a model: an engine, changed by `change`, and its manifest."""
    described = artifacts.read(ModelManifest, folder / "manifest.json")
    proto = onnx.load(folder / "model.onnx")
    if change is not None:
        change(proto)
    path = folder / name
    onnx.save(proto, path)
    shared = {key: getattr(described, key) for key in ("name", "model", "source", "inputs", "outputs", "preprocess", "labels", "se_blocks")}
    rest = {"backend": "onnxruntime", "precision": "fp32", "scales": None, "plugin": None, "versions": {}, "targets": (), "accuracy": None}
    artifacts.write(EngineManifest(**{**shared, **rest, "engine": FileRef.of(path), **manifest}), Path(f"{path}.json"))
    return path


def weak_classifier(proto: onnx.ModelProto) -> None:
    """Doubles one class's weights: some answers change."""
    node = next(node for node in proto.graph.node if node.op_type == "Gemm" and "logits" in node.output)
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == node.input[1])
    values = numpy_helper.to_array(weight).copy()
    values[0] *= 2
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))


def nan_class(proto: onnx.ModelProto) -> None:
    """Class 3 is NaN where the first pixel is negative: its square root, taken from itself, is added to that class."""
    _behind(
        proto,
        "zero = Constant<value = int64[3] {0, 0, 0}>() one = Constant<value = int64[3] {1, 1, 1}>()"
        "axes = Constant<value = int64[3] {1, 2, 3}>() pixel = Slice(input, zero, one, axes) flat = Flatten(pixel) root = Sqrt(flat)"
        "nothing = Sub(root, root) third = Constant<value = float[10] {0, 0, 0, 1, 0, 0, 0, 0, 0, 0}>()"
        "added = Mul(nothing, third) logits = Add(plain_logits, added)",
    )


def first_row_for_all(proto: onnx.ModelProto) -> None:
    """Every row of the batch gets the first row's answer."""
    _behind(
        proto,
        "zero = Constant<value = int64[1] {0}>() one = Constant<value = int64[1] {1}>()"
        "first = Slice(plain_logits, zero, one, zero) shape = Shape(plain_logits) logits = Expand(first, shape)",
    )


def first_row_only(proto: onnx.ModelProto) -> None:
    """The answer has one row, whatever the batch."""
    _behind(
        proto,
        "zero = Constant<value = int64[1] {0}>() one = Constant<value = int64[1] {1}>() logits = Slice(plain_logits, zero, one, zero)",
    )


def other_classes(proto: onnx.ModelProto) -> None:
    """The last class is missing."""
    _behind(
        proto,
        "zero = Constant<value = int64[1] {0}>() nine = Constant<value = int64[1] {9}>() one = Constant<value = int64[1] {1}>()"
        "logits = Slice(plain_logits, zero, nine, one)",
    )


def _behind(proto: onnx.ModelProto, text: str) -> None:
    """Nodes behind the classifier, whose own answer becomes `plain_logits`."""
    more = onnx.parser.parse_graph(f"g (float[N, 3, 32, 32] input, float[N, 10] plain_logits) => (float[M, K] logits) {{ {text} }}")
    for node in proto.graph.node:
        node.output[:] = ["plain_logits" if name == "logits" else name for name in node.output]
    proto.graph.node.extend(more.node)
    proto.graph.output[0].CopyFrom(more.output[0])
