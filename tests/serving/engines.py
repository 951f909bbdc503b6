"""Engines to package: real ones of ONNX Runtime, and plans written by hand, which are ONNX files to the tests' stand-in for TensorRT."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import onnx.parser

from se_deploy import artifacts, build
from se_deploy.artifacts import EngineManifest, FileRef, InputSpec, OutputSpec, PluginRef, Preprocess
from tests.quant import small
from tests.stages import exports

LABELS = tuple(f"class {number}: ä" for number in range(small.CLASSES))


def engine(
    folder: Path, name: str = "small", *, labels: tuple[str, ...] | None = LABELS, batch: int | None = None, how: Preprocess = exports.HOW
) -> Path:
    """An engine.onnx that `build` made, in `folder`/`name`."""
    model = small.network()
    if batch is not None:
        for port in (*model.graph.input, *model.graph.output):
            port.type.tensor_type.shape.dim[0].dim_value = batch
    place = exports.directory(folder, model, name=name, how=how)
    path = place / "manifest.json"
    manifest = artifacts.read(artifacts.ModelManifest, path)
    outputs = manifest.outputs if batch is None else (manifest.outputs[0].model_copy(update={"shape": (batch, small.CLASSES)}),)
    artifacts.write(manifest.model_copy(update={"labels": labels, "outputs": outputs}), path)
    return build(place).output


def odd(folder: Path) -> Path:
    """An engine that takes no pictures: two inputs, one of integers, and two outputs, one a number for each row."""
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        odd (float[N, 4] a, int64[N, 2] b) => (float[N] sum, float[N, 4] both) {
            wide = Cast<to = 1>(b)
            one = Constant<value = int64[1] {1}>()
            row = ReduceSum<keepdims = 1>(wide, one)
            both = Add(a, row)
            sum = ReduceSum<keepdims = 0>(both, one)
        }
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "engine.onnx"
    onnx.save(onnx.parser.parse_model(text), path)

    def spec(name: str, dtype: str, size: int) -> InputSpec:
        return InputSpec(name=name, dtype=dtype, shape=("N", size), min=(1, size), opt=(4, size), max=(16, size))

    outputs = (OutputSpec(name="sum", dtype="float32", shape=("N",)), OutputSpec(name="both", dtype="float32", shape=("N", 4)))
    return exports.described(path, "odd", (spec("a", "float32", 4), spec("b", "int64", 2)), outputs, Preprocess())


def changed(path: Path, **update: object) -> Path:
    """The engine at `path`, its manifest's fields replaced."""
    beside = Path(f"{path}.json")
    artifacts.write(artifacts.read(EngineManifest, beside).model_copy(update=update), beside)
    return path


def plan(folder: Path, name: str = "planned", *, version: str = "10.13.3.9", backend: str = "tensorrt", plugin: bool = True) -> Path:
    """What `build` leaves for TensorRT, as far as packaging sees: a plan, a plugin library, the manifest."""
    made = engine(folder, name)
    path = made.with_name("engine.plan")
    shutil.move(made, path)
    shutil.move(f"{made}.json", f"{path}.json")
    reference = None
    if plugin:
        library = path.with_name("libse_plugin.so")
        library.write_bytes(b"\x7fELF, the rest is TensorRT's affair")
        reference = PluginRef(file=library.name, sha256=FileRef.of(library).sha256, version="1", layers=2)
    key = "tensorrt" if backend == "tensorrt" else "tensorrt-rtx"
    return changed(path, backend=backend, engine=FileRef.of(path), plugin=reference, versions={key: version})


def session_answers(engine: Path, rows: object) -> object:
    """ONNX Runtime's own answer to a batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx.load(engine).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: rows})[0]
