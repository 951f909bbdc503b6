"""A model directory in, an engine for TensorRT-RTX with everything that belongs to it out."""

import json
import os
from pathlib import Path

import onnx
import pytest

from se_deploy import artifacts, backends
from se_deploy.artifacts import EngineManifest
from se_deploy.backends.tensorrt import RTX, STANDARD, TensorRT, gpu, parent
from se_deploy.errors import ArtifactError, BackendError, GraphError
from se_deploy.files import sha256
from se_deploy.stages.bench import bench
from se_deploy.stages.build import build
from tests.quant import small
from tests.stages import exports

ON_RTX = {"backend": "tensorrt-rtx", "target": ["sm_89"]}


def manifest_of(engine: Path) -> EngineManifest:
    return artifacts.read(EngineManifest, engine.with_name(f"{engine.name}.json"))


def layers_of(engine: Path) -> list[dict]:
    return json.loads(engine.with_suffix(".layers.json").read_text())["layers"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_what_lies_beside_an_engine(precision: str, model: Path, pictures: Path, plugin: Path) -> None:
    before = set(os.listdir(model))
    result = build(model, **{precision: True}, **ON_RTX, **({"calib": pictures} if precision == "int8" else {}))
    names = {"engine.plan", "engine.plan.json", "engine.layers.json", "engine.plugin.so"}
    assert set(os.listdir(model)) - before == names | ({"engine.plan.scales.json"} if precision == "int8" else set())
    assert (result.output, result.manifest) == (model / "engine.plan", model / "engine.plan.json")
    assert (result.backend, result.precision, result.se_blocks, result.plugin_layers) == ("tensorrt-rtx", precision, 2, 2)
    made = manifest_of(result.output)
    assert (made.backend, made.precision, made.targets) == ("tensorrt-rtx", precision, ("sm_89",))
    assert (made.plugin.file, made.plugin.sha256, made.plugin.version, made.plugin.layers) == ("engine.plugin.so", sha256(plugin), "1", 2)
    assert made.versions["tensorrt-rtx"] == RTX.version()
    assert set(made.versions) == {"se-deploy", "onnx", "tensorrt-rtx", "polygraphy"}
    kinds = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8"}
    assert [layer["outputs"][0]["dtype"] for layer in layers_of(result.output) if layer["plugin"]] == [kinds[precision]] * 2
    ends = [t["dtype"] for layer in (layers_of(result.output)[0], layers_of(result.output)[-1]) for t in layer["inputs"] if t]
    assert ends[0] == "FLOAT"


def test_fp16_is_the_default(model: Path, plugin: Path) -> None:
    assert build(model, **ON_RTX).precision == "fp16"


def test_progress_counts_the_builders_steps(model: Path, plugin: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    build(model, **ON_RTX, progress=lambda *step: told.append(step))
    assert list(dict.fromkeys(what for what, _, _ in told)) == [
        "write the model in fp16",
        "load the plugin (TensorRT-RTX)",
        "parse the model (TensorRT-RTX)",
        "build the engine (TensorRT-RTX)",
        "write the engine (TensorRT-RTX)",
    ]
    steps = [(done, total) for what, done, total in told if what.startswith("build") and total]
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert len(steps) > 50
    assert all(done <= total for done, total in steps)


def test_an_engine_that_cannot_run_here_says_so(model: Path, plugin: Path) -> None:
    assert build(model, fp32=True, **ON_RTX).notes == (
        "the engine was not run: no NVIDIA GPU is here; `--backend onnxruntime` builds an engine for this CPU",
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_plugin_off_writes_the_blocks_out_and_says_so(precision: str, model: Path, pictures: Path) -> None:
    options = {"calib": pictures} if precision == "int8" else {}
    result = build(model, **{precision: True}, **ON_RTX, plugin="off", **options)
    assert (result.se_blocks, result.plugin_layers) == (2, 0)
    assert "no plugin: 2 SE block(s) are built as plain operators" in result.notes
    assert manifest_of(result.output).plugin is None
    assert not (model / "engine.plugin.so").exists()
    types = [layer["type"] for layer in layers_of(result.output)]
    assert "PLUGIN_V3" not in types
    assert types.count("REDUCE") + types.count("POOLING") >= 3


def test_embedding_leaves_no_library_beside(model: Path, plugin: Path) -> None:
    plain = build(model, **ON_RTX, output=model / "plain.plan").output
    result = build(model, **ON_RTX, embed_plugin=True)
    made = manifest_of(result.output)
    assert (made.plugin.file, made.plugin.sha256, made.plugin.layers) == ("engine.plan", sha256(result.output), 2)
    assert not (model / "engine.plugin.so").exists()
    assert result.output.stat().st_size - plain.stat().st_size > 0.9 * plugin.stat().st_size


def test_several_targets_are_in_one_engine(model: Path, plugin: Path) -> None:
    assert manifest_of(build(model, backend="tensorrt-rtx", target=["sm_89", "sm_120", "sm_89"]).output).targets == ("sm_89", "sm_120")


def test_shapes_are_the_profile(model: Path, plugin: Path) -> None:
    (spec,) = manifest_of(build(model, **ON_RTX, shapes=["x:2,4,6"]).output).inputs
    assert (spec.min[0], spec.opt[0], spec.max[0]) == (2, 4, 6)


def test_a_plugin_by_its_path(model: Path, plugin: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.so"
    mine.write_bytes(plugin.read_bytes())
    assert build(model, **ON_RTX, plugin=mine).plugin_layers == 2


def test_a_network_without_se_blocks_needs_no_plugin(tmp_path: Path) -> None:
    network = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("GlobalAveragePool", ["x"], ["p"]), onnx.helper.make_node("Flatten", ["p"], ["y"])],
            "plain",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 32, 32])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    result = build(exports.directory(tmp_path, network), **ON_RTX, plugin="nowhere.so")
    assert (result.se_blocks, result.plugin_layers) == (0, 0)


def test_bodies_are_taken_out_for_a_parser_that_would_prefer_them(model: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    run = parent.run

    def watched(job, *rest):  # noqa: ANN001, ANN002, ANN202
        seen.append(len(onnx.load(job.model).functions))
        return run(job, *rest)

    monkeypatch.setattr(parent, "run", watched)
    assert build(model, **ON_RTX).plugin_layers == 2
    monkeypatch.setattr("se_deploy.backends.tensorrt.flavours.Flavour.bodies_taken_out", lambda self: True)
    assert build(model, **ON_RTX).plugin_layers == 2
    assert seen == [2, 0]


@pytest.mark.parametrize(("version", "taken"), [("10.6.0", True), ("10.7.0", False), ("11.4.0.106", False)])
def test_which_parsers_prefer_bodies(version: str, taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("se_deploy.backends.tensorrt.flavours.Flavour.version", lambda self: version)
    assert STANDARD.bodies_taken_out() == taken


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.6.0", "TensorRT-RTX 1.6.0 takes no plugins, 1.7 does: `pip install -U 'se-deploy[rtx]'`"),
        (None, "TensorRT-RTX is not installed: `pip install 'se-deploy[rtx]'`"),
    ],
)
def test_a_release_that_cannot_is_refused(version: str | None, said: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("se_deploy.backends.tensorrt.flavours.Flavour.version", lambda self: version)
    with pytest.raises(BackendError) as caught:
        build(model, **ON_RTX)
    assert str(caught.value) == f"the tensorrt-rtx backend does not work here; {said}"


def test_external_weights_are_read(tmp_path: Path, plugin: Path) -> None:
    model = exports.directory(tmp_path)
    onnx.save_model(small.network(), model / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    text = (model / "manifest.json").read_text()
    (model / "manifest.json").write_text(text.replace(sha256(model / "plain.onnx"), sha256(model / "model.onnx"), 1))
    assert build(model, **ON_RTX).plugin_layers == 2


def test_a_broken_rule_is_told_before_tensorrt_is_asked(tmp_path: Path) -> None:
    network = small.network()
    for name, kind, value in (("s", onnx.TensorProto.FLOAT, 0.1), ("z", onnx.TensorProto.UINT8, 0)):
        network.graph.initializer.append(onnx.helper.make_tensor(name, kind, [], [value]))
    pair = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "d"),
    ]
    for position, node in enumerate(pair):
        network.graph.node.insert(position, node)
    network.graph.node[2].input[0] = "d"
    steps: list[str] = []
    with pytest.raises(GraphError, match="TensorRT's rule int8: q "):
        build(exports.directory(tmp_path, network), **ON_RTX, fp32=True, progress=lambda what, *_: steps.append(what))
    assert steps == ["write the model in fp32"]


def test_an_engine_of_another_backend_is_not_overwritten(model: Path, plugin: Path) -> None:
    build(model, **ON_RTX, output=model / "e.plan")
    with pytest.raises(ArtifactError, match="is an engine of tensorrt-rtx in fp16, this one is of tensorrt-rtx in fp32; add --force"):
        build(model, **ON_RTX, fp32=True, output=model / "e.plan")


def test_what_belonged_to_the_engine_before_goes(model: Path, plugin: Path) -> None:
    build(model, **ON_RTX)
    assert (model / "engine.plugin.so").exists()
    build(model, **ON_RTX, plugin="off")
    assert not (model / "engine.plugin.so").exists()


def test_bench_without_a_gpu_names_what_would_run_here(model: Path, plugin: Path) -> None:
    build(model, **ON_RTX)
    with pytest.raises(BackendError) as caught:
        bench(model / "engine.plan", duration=0.01, warmup=0)
    assert str(caught.value) == (
        f"{model / 'engine.plan'} needs tensorrt-rtx, which does not run here; "
        "no NVIDIA GPU is here; `--backend onnxruntime` builds an engine for this CPU"
    )


def test_no_environment_is_wanted_of_the_user(model: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's parser looks for libtensorrt_rtx.so, which the wheel does not have: without the cure a plugin kills the process."""
    for name in ("LD_LIBRARY_PATH", "POLYGRAPHY_USE_TENSORRT_RTX"):
        monkeypatch.delenv(name, raising=False)
    assert build(model, **ON_RTX).plugin_layers == 2
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    with RTX.environment() as added:
        folder, mine = added["LD_LIBRARY_PATH"].split(":")
        assert mine == "/nowhere"
        assert (Path(folder) / "libtensorrt_rtx.so").resolve().name == "libtensorrt_rtx.so.1"
    assert not Path(folder).exists()


@pytest.mark.parametrize(
    ("here", "targets", "said"),
    [
        (gpu.Gpu("RTX 4090", "sm_89"), ("sm_89", "sm_120"), None),
        (gpu.Gpu("RTX 4090", "sm_89"), (), None),
        (gpu.Gpu("RTX 4090", "sm_89"), ("sm_120",), "it is for sm_120, and RTX 4090 is sm_89; build it with --target sm_89"),
        (gpu.Gpu("H100", "sm_90"), ("sm_89",), "TensorRT-RTX has no code for H100 (sm_90); take --backend tensorrt"),
        (None, ("sm_89",), "no NVIDIA GPU is here; `--backend onnxruntime` builds an engine for this CPU"),
    ],
)
def test_where_an_engine_runs(here: gpu.Gpu | None, targets: tuple[str, ...], said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "first", lambda: here)
    assert TensorRT(RTX).unable_to_run(targets) == said


@pytest.mark.parametrize(("target", "name"), [("sm_89", "tensorrt-rtx"), ("sm_90", "onnxruntime"), (None, "onnxruntime")])
def test_auto_takes_the_first_that_works_here(target: str | None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT itself is not installed here."""
    monkeypatch.setattr(gpu, "first", lambda: gpu.Gpu("a card", target) if target else None)
    assert backends.auto().name == name
