"""`bisect` on a real seresnet50: faults planted in a block, a layer, a precision are named; sound engines are said to be sound."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from se_deploy import artifacts, backends, op
from se_deploy.artifacts import EngineManifest, FileRef, InputSpec, ModelManifest, OutputSpec, Preprocess, SourceRef, silent
from se_deploy.errors import ArtifactError, ImageError
from se_deploy.graph.fuse import fuse
from se_deploy.graph.half import to_half
from se_deploy.graph.names import name_by_module
from se_deploy.graph.unfuse import unfuse
from se_deploy.stages.bisect import Bisection, bisect
from se_deploy.stages.build import build
from se_deploy.stages.steps import bisecting, engines
from se_deploy.verify.probes import probes
from tests.graph.exported import exported
from tests.stages.exports import pictures

SIZE = 64
HOW = Preprocess(resize=SIZE, crop=SIZE)
BLOCKS = [f"layer{stage}.{number}.se" for stage, count in ((1, 3), (2, 4), (3, 6), (4, 3)) for number in range(count)]


def directory(folder: Path, plain: ModelProto) -> Path:
    """What `export` leaves of a graph with one image input, its source an .onnx file."""
    folder.mkdir(parents=True)
    name_by_module(plain)
    fused = fuse(plain)
    for name, model in (("plain.onnx", plain), ("model.onnx", fused.model)):
        onnx.save(model, folder / name)
    inputs = probes(4, (3, SIZE, SIZE), HOW)
    np.savez(folder / "reference.npz", **{"input.input": inputs, "output.logits": np.zeros((4, 1000), np.float32)})
    sizes = {name: (batch, 3, SIZE, SIZE) for name, batch in (("min", 1), ("opt", 8), ("max", 32))}
    artifacts.write(
        ModelManifest(
            name=folder.name,
            source=SourceRef(file="m.onnx", sha256="0" * 64),
            model=FileRef.of(folder / "model.onnx"),
            plain=FileRef.of(folder / "plain.onnx"),
            weights=None,
            reference=FileRef.of(folder / "reference.npz"),
            exporter="onnx",
            opset=17,
            versions={},
            inputs=(InputSpec(name="input", dtype="float32", shape=("batch", 3, SIZE, SIZE), **sizes),),
            outputs=(OutputSpec(name="logits", dtype="float32", shape=("batch", 1000)),),
            preprocess=HOW,
            labels=None,
            se_blocks=len(fused.fused),
        ),
        folder / "manifest.json",
    )
    return folder


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with engines/se (seresnet50 at 64x64) and sound engines in FP32, FP16 and INT8; the working directory meanwhile."""
    root = tmp_path_factory.mktemp("bisect")
    model = directory(root / "engines" / "se", exported("seresnet50", SIZE))
    imgs = pictures(root / "imgs", 16)
    for precision, more in (("fp32", {}), ("fp16", {}), ("int8", {"calib": imgs})):
        build(model, **{precision: True}, output=model / f"{precision}.onnx", **more)
    before = Path.cwd()
    os.chdir(root)
    yield root
    os.chdir(before)


def planted(precision: str, change: Callable[[ModelProto], None], name: str = "planted.onnx") -> Path:
    """A sound engine with a fault."""
    folder = Path("engines/se")
    model = onnx.load(folder / f"{precision}.onnx")
    change(model)
    return described(model, precision, name)


def described(model: ModelProto, precision: str, name: str) -> Path:
    """An engine with its manifest."""
    folder = Path("engines/se")
    onnx.save(model, folder / name)
    manifest = artifacts.read(EngineManifest, folder / f"{precision}.onnx.json")
    artifacts.write(manifest.model_copy(update={"engine": FileRef.of(folder / name)}), folder / f"{name}.json")
    return folder / name


def scaled(name: str, factor: float) -> Callable[[ModelProto], None]:
    """A fault: a weight is `factor` times what it should be."""

    def change(model: ModelProto) -> None:
        (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), name))

    return change


def in_block(block: str, key: str, factor: float) -> Callable[[ModelProto], None]:
    """A fault in a fused block's weight."""

    def change(model: ModelProto) -> None:
        (node,) = [node for node in model.graph.node if node.name == block]
        variant = op.variant_of(node)
        assert variant is not None
        scaled(node.input[variant.inputs.index(key)], factor)(model)

    return change


def quick(engine: object, **words: object) -> Bisection:
    return bisect(engine, **{"images": 1, "threads": 1, "shares": False, **words})  # type: ignore[arg-type]


# --- sound engines ---


@pytest.mark.parametrize(("precision", "own", "ends"), [("fp32", 1e-5, 1e-3), ("fp16", 2e-3, 0.1)])
def test_a_sound_engine_leaves_nowhere_by_itself(here: Path, precision: str, own: float, ends: float) -> None:
    found = quick(f"{precision}.onnx")
    assert found.kind in (None, "carried") if precision == "fp16" else found.first is None
    assert len(found.places) > 90
    assert [block for block in BLOCKS if any(place.block == block for place in found.places)] == BLOCKS
    assert max(place.own or 0 for place in found.places) < own
    assert found.outputs[0].error is not None
    assert found.outputs[0].error < ends
    carried = [place.carried for place in found.places if place.tensor == "logits"]
    assert carried == [pytest.approx(found.outputs[0].error, rel=0.2, abs=1e-6)]


def test_what_int8_rounds_adds_up_and_that_is_said(here: Path) -> None:
    sound = quick("int8.onnx")
    own, carried = max(place.own or 0 for place in sound.places), max(place.carried or 0 for place in sound.places)
    assert sound.first is None
    assert 0.005 < own < 0.1
    assert carried > 1.5 * own
    limit = (own + carried) / 2
    found = quick("int8.onnx", tolerance=limit)
    assert found.kind == "carried"
    assert found.first is not None
    assert found.first.carried is not None
    assert found.first.carried > limit
    earlier = found.places[: found.places.index(found.first)]
    assert all(place.carried is not None and place.carried <= limit for place in earlier)


# --- planted faults ---


@pytest.mark.parametrize("block", BLOCKS)
def test_a_fault_in_any_block_is_named(here: Path, block: str) -> None:
    key, factor = [("w2", 1.2), ("b2", 0.5), ("w1", -1.0)][BLOCKS.index(block) % 3]
    found = quick(planted("fp32", in_block(block, key, factor)))
    assert found.kind == "own"
    assert found.first is not None
    assert found.first.block == block
    assert found.first.nodes == (block,)
    assert any(name.startswith(f"{block}") for name in found.first.reference_nodes)
    before = found.places[: found.places.index(found.first)]
    assert all((place.own or 0) < 1e-5 and (place.carried or 0) < 1e-3 for place in before)
    assert [place.block for place in found.places if (place.own or 0) > found.tolerance] == [block]


@pytest.mark.parametrize("block", ["layer1.0.se", "layer3.2.se", "layer4.2.se"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_fault_in_a_block_of_another_precision_is_named(here: Path, precision: str, block: str) -> None:
    found = quick(planted(precision, in_block(block, "w2", -1.0)))
    assert found.kind == "own"
    assert found.first is not None
    assert found.first.block == block


@pytest.mark.parametrize("marks", ["tensors", "blocks"])
def test_a_wrong_scale_of_one_layer_is_named_by_module_and_nodes(here: Path, marks: str) -> None:
    model = onnx.load("engines/se/int8.onnx")
    (conv,) = [node for node in model.graph.node if node.name == "layer2.1.conv2/Conv"]
    (weight,) = [node for node in model.graph.node if conv.input[1] in node.output]
    found = quick(planted("int8", scaled(weight.input[1], 1.5)), marks=marks)
    assert found.kind == "own"
    assert found.first is not None
    assert (found.first.module, found.first.block) == ("layer2.1.conv2", None)
    assert "layer2.1.conv2/Conv" in found.first.nodes
    assert found.first.reference_nodes == ("layer2.1.conv2/Conv",)
    walked = [place for place in found.places if place.carried is not None]
    assert (len(walked) == len(found.places)) is (marks == "tensors")
    assert any(place.carried is not None and place.carried > 0.2 for place in found.places)


def test_nan_is_named_where_it_comes_from(here: Path) -> None:
    found = quick(planted("fp32", in_block("layer3.1.se", "b2", float("nan"))))
    assert found.first is not None
    assert (found.first.block, found.first.non_finite, found.first.own) == ("layer3.1.se", "NaN", None)
    assert found.outputs[0].non_finite == "NaN"
    assert "NaN" not in found.model_dump_json().replace('"NaN"', "")


def test_an_engine_whose_blocks_are_not_fused_is_told_by_block_too(here: Path) -> None:
    plain = unfuse(onnx.load("engines/se/fp32.onnx"))
    fault = [tensor.name for tensor in plain.graph.initializer if tensor.name.startswith("layer2.0.se") and tensor.name.endswith("w2")]
    scaled(fault[0], 1.3)(plain)
    found = quick(described(plain, "fp32", "unfused.onnx"))
    assert found.first is not None
    assert (found.first.block, found.kind) == ("layer2.0.se", "own")
    half = to_half(onnx.load("engines/se/fp32.onnx"))
    assert quick(described(half, "fp16", "half.onnx")).kind != "own"


def test_a_rescaled_tensor_that_the_next_layer_sets_right_is_no_fault(here: Path) -> None:
    """As equalisation leaves it: a convolution's weights and bias eightfold, the next one's an eighth, a Relu between."""

    def equalised(model: ModelProto) -> None:
        nodes = {node.name: node for node in model.graph.node}
        for name, factor in (("layer2.1.conv1/Conv", 8.0), ("layer2.1.conv2/Conv", 0.125)):
            scaled(nodes[name].input[1], factor)(model)
        scaled(nodes["layer2.1.conv1/Conv"].input[2], 8.0)(model)

    found = quick(planted("fp32", equalised, "equalised.onnx"))
    assert (found.first, found.outputs[0].non_finite) == (None, None)
    assert any(note.startswith("2 tensor(s) hold other values that the next layer sets right, first ") for note in found.notes)

    def both(model: ModelProto) -> None:
        equalised(model)
        in_block("layer3.3.se", "w2", -1.0)(model)

    found = quick(planted("fp32", both, "both.onnx"), shares=True)
    assert found.first is not None
    assert (found.first.block, found.kind) == ("layer3.3.se", "own")
    assert found.shares[0].share > 99.9


# --- shares ---


def test_each_block_has_its_own_share_of_the_error(here: Path) -> None:
    def two(model: ModelProto) -> None:
        in_block("layer2.1.se", "w2", 1.05)(model)
        in_block("layer4.0.se", "w2", 1.5)(model)

    found = quick(planted("fp32", two), shares=True, images=2)
    assert found.first is not None
    assert found.first.block == "layer2.1.se"
    assert {share.name for share in found.shares[:2]} == {"layer2.1.se", "layer4.0.se"}
    assert sum(share.share for share in found.shares) == pytest.approx(100)
    assert sum(share.share for share in found.shares[:2]) > 99.9
    for block in ("layer2.1.se", "layer4.0.se"):
        alone = quick(planted("fp32", in_block(block, "w2", 1.05 if block == "layer2.1.se" else 1.5), "alone.onnx"), images=2)
        (share,) = [share for share in found.shares if share.name == block]
        assert share.output_error == pytest.approx(alone.outputs[0].error, rel=1e-2)


def test_slices_are_small_and_change_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = quick("int8.onnx")
    monkeypatch.setattr(bisecting, "SLICE", 2**20)
    found = quick("int8.onnx")
    assert [p.tensor for p in found.places] == [p.tensor for p in whole.places]
    assert [p.own for p in found.places] == pytest.approx([p.own for p in whole.places], rel=1e-3)
    bench = bisecting.Bench
    held: list[int] = []
    original = bench.reference

    def counted(self: bisecting.Bench, names: list[str]) -> Iterator[dict]:
        for tensors in original(self, names):
            held.append(sum(value.nbytes for value in tensors.values()))
            yield tensors

    monkeypatch.setattr(bench, "reference", counted)
    quick("int8.onnx", marks="blocks")
    assert len(held) > 8
    assert max(held) < 2 * 2**20


# --- the failing piece ---


def test_the_saved_piece_shows_the_fault_by_onnx_runtime_alone(here: Path, tmp_path: Path) -> None:
    engine = planted("int8", in_block("layer3.4.se", "w2", -1.0))
    found = quick(engine, save=tmp_path / "failing", images=2)
    assert found.saved == tmp_path / "failing"
    assert sorted(path.name for path in found.saved.iterdir()) == ["engine.onnx", "inputs.npz", "reference.onnx", "reproduce.py"]
    assert [node.op_type.partition("_")[0] for node in onnx.load(found.saved / "engine.onnx").graph.node] == [
        "QuantizeLinear", "DequantizeLinear", "SqueezeExcite",
    ]  # fmt: skip
    assert len(onnx.load(found.saved / "reference.onnx").graph.node) < 12
    assert sum(path.stat().st_size for path in found.saved.iterdir()) < 2e7 < engine.stat().st_size
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [sys.executable, "reproduce.py"]
    done = subprocess.run(words, cwd=found.saved, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"{found.first and found.first.tensor} DIFFERS: |error| / |reference| = ")
    (found.saved / "engine.onnx").write_bytes((found.saved / "reference.onnx").read_bytes())
    with np.load(found.saved / "inputs.npz") as arrays:
        inputs = {key.removeprefix("reference."): arrays[key] for key in arrays.files if key.startswith("reference.")}
    both = {f"{whose}.{name}": value for name, value in inputs.items() for whose in ("engine", "reference")}
    np.savez(found.saved / "inputs.npz", **both)
    done = subprocess.run(words, cwd=found.saved, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0
    assert "agrees" in done.stdout
    (tmp_path / "failing" / "mine.txt").touch()
    with pytest.raises(ArtifactError, match=r"holds something else: mine\.txt; name another folder with --save"):
        quick(engine, save=tmp_path / "failing")


def test_what_adds_up_is_saved_from_where_it_adds_up_to_the_tolerance(here: Path, tmp_path: Path) -> None:
    sound = quick("int8.onnx")
    limit = max(place.own or 0 for place in sound.places) * 1.3
    found = quick("int8.onnx", tolerance=limit, save=tmp_path / "failing")
    assert found.kind == "carried"
    assert found.saved is not None
    nodes = len(onnx.load(found.saved / "engine.onnx").graph.node)
    assert 3 < nodes < len(onnx.load("engines/se/int8.onnx").graph.node)
    done = subprocess.run([sys.executable, found.saved / "reproduce.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "DIFFERS" in done.stdout


def test_nothing_is_saved_where_nothing_fails(here: Path, tmp_path: Path) -> None:
    found = quick("fp32.onnx", save=tmp_path / "failing")
    assert found.saved is None
    assert not (tmp_path / "failing").exists()
    assert found.notes[-1] == "nothing leaves the reference, so nothing was saved"


# --- as it is typed ---


def test_the_command_line_names_the_block(here: Path, tmp_path: Path) -> None:
    engine = planted("fp32", in_block("layer2.3.se", "b1", 3.0))
    words = [sys.executable, "-m", "se_deploy", "bisect", str(engine), "--data", "imgs", "--images", "2", "--threads", "1"]
    done = subprocess.run([*words, "--save", str(tmp_path / "f")], capture_output=True, text=True, check=True)
    assert "first place that leaves the reference by itself: SE block layer2.3.se, tensor " in done.stdout
    assert "100.0 %" in done.stdout
    assert f"python {tmp_path}/f/reproduce.py" in done.stdout
    done = subprocess.run([*words, "--json", "--no-shares"], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert (report["first"]["block"], report["kind"], report["images"], report["shares"]) == ("layer2.3.se", "own", 2, [])
    done = subprocess.run([*words, "--marks", "all"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


def test_an_exports_fused_graph_is_an_engine_too(here: Path) -> None:
    found = quick("engines/se/model.onnx")
    assert (found.first, found.precision, len(found.places) > 90) == (None, "fp32", True)
    with pytest.raises(ArtifactError, match=r"plain\.onnx has no manifest"):
        quick("engines/se/plain.onnx")


def test_users_errors(here: Path) -> None:
    with pytest.raises(ImageError, match="0 images are none"):
        quick("fp32.onnx", images=0)
    with pytest.raises(ImageError, match="no folder none"):
        quick("fp32.onnx", data="none")
    with pytest.raises(ArtifactError, match=r"no engine other\.onnx"):
        quick("other.onnx")
    with pytest.raises(ArtifactError, match=r"plain\.onnx is a file; name a folder with --save"):
        quick("fp32.onnx", save="engines/se/plain.onnx")


# --- plans ---


def test_a_plan_is_told_by_its_graph_where_no_gpu_is(here: Path) -> None:
    backend = backends.get("tensorrt-rtx")
    if backend.missing() is not None:
        pytest.skip(f"TensorRT-RTX is not installed: {backend.missing()}")
    model = Path("engines/se")
    build(model, int8=True, calib="imgs", backend="tensorrt-rtx", plugin="off", target=["sm_89"], output=model / "rtx.plan")
    found = quick(model / "rtx.plan", shares=True)
    if backend.unable_to_run() is not None:
        assert found.outputs == ()
        assert all(place.carried is None for place in found.places)
        assert any("the engine was not run" in note for note in found.notes)
    assert [block for block in BLOCKS if any(place.block == block for place in found.places)] == BLOCKS
    assert max(place.own or 0 for place in found.places) < 0.2
    assert sum(share.share for share in found.shares) == pytest.approx(100)
    # The outputs of its blocks can be marked, a slice at a time: TensorRT-RTX builds each marked network.
    with bisecting.opened(engines.find(model / "rtx.plan"), [{"input": probes(1, (3, SIZE, SIZE), HOW)}], 1, silent) as bench:
        chosen = [segment for segment in bench.segments if segment.block is not None]
        slices = bench.slices(chosen, 6)
        assert len(slices) > 1
        with bench.built_with([segment.output for segment in slices[0]]) as plan:
            assert plan.stat().st_size > 1e6
