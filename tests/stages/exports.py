"""Model directories as `export` leaves them, around the small network; made in milliseconds, no torch."""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto
from PIL import Image

from se_deploy import artifacts, op
from se_deploy.artifacts import EngineManifest, FileRef, InputSpec, ModelManifest, OutputSpec, Preprocess, SourceRef
from se_deploy.images import decode, preprocess
from tests.quant import small

HOW = Preprocess(resize=36, crop=32)


def directory(folder: Path, model: ModelProto | None = None, *, name: str = "small", how: Preprocess = HOW, size: int = small.SIZE) -> Path:
    """An export in `folder`/`name`; `size` is the images' where the model leaves it open."""
    target = folder / name
    target.mkdir(parents=True)
    model = model or small.network()
    onnx.save(model, target / "model.onnx")
    onnx.save(model, target / "plain.onnx")
    np.savez(target / "reference.npz", x=small.images(2))
    (given,), output = model.graph.input, model.graph.output[0]
    shape, answer = (tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim) for value in (given, output))
    batches = (1, 8, 32) if isinstance(shape[0], str) else (shape[0],) * 3
    low, best, high = ((b, *(s if isinstance(s, int) else size for s in shape[1:])) for b in batches)
    manifest = ModelManifest(
        name=name,
        source=SourceRef(file="small.pt", sha256="0" * 64, arch="timm:small"),
        model=FileRef.of(target / "model.onnx"),
        plain=FileRef.of(target / "plain.onnx"),
        weights=None,
        reference=FileRef.of(target / "reference.npz"),
        exporter="onnx",
        opset=17,
        versions={"onnx": onnx.__version__},
        inputs=(InputSpec(name=given.name, dtype="float32", shape=shape, min=low, opt=best, max=high),),
        outputs=(OutputSpec(name=output.name, dtype="float32", shape=answer),),
        preprocess=how,
        labels=tuple(str(i) for i in range(answer[1])),
        se_blocks=sum(op.variant_of(node) is not None for node in model.graph.node),
    )
    artifacts.write(manifest, target / "manifest.json")
    return target


def batch(folder: Path, count: int) -> np.ndarray:
    """The first pictures of a folder as the network takes them."""
    return np.stack([preprocess(decode(path), HOW) for path in sorted(folder.iterdir())[:count]])


def pictures(folder: Path, count: int, mode: str = "RGB") -> Path:
    """`count` images of odd sizes and differing tint."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        tint, contrast = rng.uniform(40, 200, 3), rng.uniform(10, 60)
        height, width = (int(s) for s in rng.integers(34, 60, 2))
        pixels = (rng.standard_normal((height, width, 3)) * contrast + tint).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{number:03d}.png")
    return folder


def manifest_of(engine: Path) -> EngineManifest:
    return artifacts.read(EngineManifest, engine.with_name(f"{engine.name}.json"))


def described(engine: Path, name: str, inputs: tuple[InputSpec, ...], outputs: tuple[OutputSpec, ...], how: Preprocess) -> Path:
    """`engine`, an ONNX file written by hand, with a manifest of the onnxruntime backend beside it."""
    nothing = "0" * 64
    manifest = EngineManifest(
        name=name,
        backend="onnxruntime",
        precision="fp32",
        engine=FileRef.of(engine),
        model=FileRef(file="model.onnx", sha256=nothing),
        source=SourceRef(file=f"{name}.pt", sha256=nothing),
        scales=None,
        plugin=None,
        versions={},
        targets=(),
        inputs=inputs,
        outputs=outputs,
        preprocess=how,
        labels=None,
        se_blocks=0,
        accuracy=None,
    )
    artifacts.write(manifest, Path(f"{engine}.json"))
    return engine
