"""`export`: what it writes is whole, equal to PyTorch and holds nothing of the user's machine; what it cannot prove it refuses."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import timm
import torch
from safetensors import safe_open

from se_deploy import artifacts
from se_deploy.artifacts import Preprocess
from se_deploy.errors import ArtifactError, ExportError, ImageError, LoadError, SeDeployError
from se_deploy.files import sha256
from se_deploy.graph.ports import declared
from se_deploy.networks.build import build
from se_deploy.stages.export import export
from tests.networks import planted
from tests.networks.sources import shaken
from tests.stages.exporting import manifest, refused

TS = {"exporter": "torchscript"}
FILES = {"model.onnx", "plain.onnx", "weights.safetensors", "reference.npz", "manifest.json"}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of timm's, by its keys alone: 9 SE blocks, hard-sigmoid gates, hard-swish."""
    path = tmp_path_factory.mktemp("secret-place") / "mobile.pth.tar"
    torch.manual_seed(0)
    module = shaken(timm.create_model("mobilenetv3_small_050", num_classes=4))
    torch.nn.init.normal_(module.classifier.weight, std=0.2)
    torch.save({"state_dict": module.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export by dynamo."""
    folder = tmp_path_factory.mktemp("exports") / "mobile"
    export(checkpoint, output=folder, input="pixels=1x3x64x64")
    return folder


def run(file: Path, images: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def test_what_is_written(exported: Path, checkpoint: Path) -> None:
    assert set(os.listdir(exported)) == FILES
    made = manifest(exported)
    assert (made.name, made.exporter, made.opset, made.se_blocks, made.labels) == ("mobile", "dynamo", 20, 9, None)
    assert made.source == artifacts.SourceRef(file="mobile.pth.tar", sha256=sha256(checkpoint), arch="timm:mobilenetv3_small_050")
    for ref in (made.model, made.plain, made.weights, made.reference):
        assert ref.sha256 == sha256(exported / ref.file)
    (spec,), (out,) = made.inputs, made.outputs
    assert (spec.name, spec.shape, spec.dtype) == ("pixels", ("batch", 3, 64, 64), "float32")
    assert (spec.min, spec.opt, spec.max) == ((1, 3, 64, 64), (8, 3, 64, 64), (32, 3, 64, 64))
    assert (out.name, out.shape) == ("output", ("batch", 4))
    assert {"torch", "timm", "onnx", "onnxruntime", "se-deploy"} <= made.versions.keys()
    # timm's own preprocessing for this network, at the new size.
    assert (made.preprocess.interpolation, made.preprocess.crop, made.preprocess.resize) == ("bicubic", 64, 73)
    for name in FILES:
        assert os.stat(exported / name).st_mode & 0o777 == 0o644


def test_the_graphs_answer_as_pytorch_does(exported: Path, checkpoint: Path) -> None:
    module = timm.create_model("mobilenetv3_small_050", num_classes=4).eval()
    module.load_state_dict(torch.load(checkpoint)["state_dict"])
    for batch in (1, 3, 7):
        given = images(batch, 3, 64, 64)
        wanted = module(torch.from_numpy(given)).detach().numpy()
        for name in ("plain.onnx", "model.onnx"):
            np.testing.assert_allclose(run(exported / name, given), wanted, rtol=0, atol=1e-4 * np.ptp(wanted))
    with np.load(exported / "reference.npz") as reference:
        assert set(reference.files) == {"input.pixels", "output.output"}
        probes, answers = reference["input.pixels"], reference["output.output"]
    assert probes.shape == (8, 3, 64, 64)
    assert answers.shape == (8, 4)
    assert (answers.max(0) - answers.min(0)).min() > 0.1 * np.ptp(answers)
    np.testing.assert_allclose(answers, module(torch.from_numpy(probes)).detach().numpy(), rtol=0, atol=1e-5 * np.ptp(answers))


def test_blocks_are_one_node_each_and_nodes_are_named_by_module(exported: Path) -> None:
    fused, plain = onnx.load(exported / "model.onnx"), onnx.load(exported / "plain.onnx")
    names = [node.name for node in fused.graph.node if node.op_type.startswith("SqueezeExcite")]
    places = ("0.0", "2.0", "2.1", "2.2", "3.0", "3.1", "4.0", "4.1", "4.2")
    assert names == [f"blocks.{place}.se" for place in places]
    assert "blocks.0.0.se.conv_reduce/Conv" in {node.name for node in plain.graph.node}
    onnx.checker.check_model(fused, full_check=True)
    onnx.checker.check_model(plain, full_check=True)


def test_the_weights_make_the_network_again(exported: Path, checkpoint: Path) -> None:
    with safe_open(exported / "weights.safetensors", framework="pt") as file:
        said = file.metadata()
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
    assert said["arch"] == "timm:mobilenetv3_small_050"
    build(said["arch"], **json.loads(said["kwargs"])).load_state_dict(state, strict=True)
    assert all(torch.equal(state[key], value) for key, value in torch.load(checkpoint)["state_dict"].items())


def test_nothing_of_the_users_machine_is_written(exported: Path, checkpoint: Path) -> None:
    private = [str(checkpoint.parent).encode(), str(exported.parent).encode(), str(Path(torch.__file__).parent.parent).encode()]
    private += [str(Path(__file__).parent).encode(), b"site-packages", b"stack_trace", b"secret-place", b'.py"']
    for name in FILES:
        content = (exported / name).read_bytes()
        assert [word for word in private if word in content] == []


def test_the_checkpoint_is_untouched_and_a_second_export_replaces_the_first(checkpoint: Path) -> None:
    before = sha256(checkpoint), os.stat(checkpoint).st_mtime_ns
    one = export(checkpoint, **TS, opset=13, input="input=1x3x64x64")
    assert (one.output, one.manifest, one.se_blocks) == (Path("engines/mobile"), Path("engines/mobile/manifest.json"), 9)
    assert one.seconds > 0
    assert one.peak_rss_mb > 100
    Path("engines/mobile/engine.onnx").write_text("an engine")
    two = export(checkpoint, **TS, input="input=1x3x32x64", fuse="none")
    assert (manifest(two.output).opset, manifest(two.output).inputs[0].shape) == (20, ("batch", 3, 32, 64))
    assert two.se_blocks == manifest(two.output).se_blocks == 0
    assert not any(node.domain for node in onnx.load("engines/mobile/model.onnx").graph.node)
    assert set(os.listdir("engines/mobile")) == {*FILES, "engine.onnx"}
    assert (sha256(checkpoint), os.stat(checkpoint).st_mtime_ns) == before


@pytest.mark.parametrize("options", [{"batch": 3}, {"batch": 1, "spatial": "dynamic"}, {"spatial": "dynamic"}], ids=str)
def test_fixed_and_dynamic_dimensions(options: dict[str, Any], workplace: Path) -> None:
    made = export(planted.save(workplace), trust=True, **TS, **options)
    (spec,), (out,) = manifest(made.output).inputs, manifest(made.output).outputs
    batch = options.get("batch", "batch")
    sides = ("height", "width") if "spatial" in options else (32, 32)
    assert spec.shape == (batch, 3, *sides)
    assert out.shape == (batch, 5)
    for file in ("plain.onnx", "model.onnx"):
        graph = onnx.load(made.output / file)
        assert declared(graph.graph.input[0]) == spec.shape
        assert declared(graph.graph.output[0]) == out.shape
    if "spatial" in options:
        assert (spec.min[2:], spec.opt[2:], spec.max[2:]) == ((25, 21), (32, 32), (41, 45))
        net = torch.load(workplace / "mine.pt", weights_only=False)["model"]
        for count, height, width in ((1, 19, 50), (1, 64, 33)):
            given = images(count, 3, height, width)
            np.testing.assert_allclose(run(made.output / "model.onnx", given), net(torch.from_numpy(given)).detach().numpy(), atol=1e-5)


def test_a_frozen_batch_is_not_called_dynamic(workplace: Path) -> None:
    made = export(planted.save(workplace, planted.FrozenBatch()), trust=True)
    assert manifest(made.output).inputs[0].shape == (1, 3, 32, 32)
    assert manifest(made.output).exporter == "dynamo"
    (said,) = [note for note in made.notes if "batch is fixed at 1" in note]
    assert "dynamo fails (the network fixes its batch to 2)" in said
    assert "torchscript fails (ONNX Runtime fails on an input of 3x3x32x32" in said


def test_a_frozen_batch_where_dynamic_was_asked_for(workplace: Path) -> None:
    refused(planted.save(workplace, planted.FrozenBatch()), ExportError, "torchscript fails.*--batch N", trust=True, batch="dynamic", **TS)


def test_a_frozen_batch_fixed_by_the_user(workplace: Path) -> None:
    made = export(planted.save(workplace, planted.FrozenBatch()), trust=True, batch=4, **TS)
    assert manifest(made.output).inputs[0].shape == (4, 3, 32, 32)
    assert not any("batch" in note for note in made.notes)


def test_padding_counted_from_the_examples_size(workplace: Path) -> None:
    source = planted.save(workplace, planted.FrozenSides())
    refused(source, ExportError, "torchscript fails .* on an input of 2x3x25x21", trust=True, spatial="dynamic", **TS)
    assert manifest(export(source, trust=True, **TS).output).inputs[0].shape == ("batch", 3, 32, 32)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (planted.Branch(), "dynamo fails .*data-dependent.*torchscript fails .output differs by .* of its range on an input of"),
        (planted.Restless(), "answers the same image differently each time; take the randomness out"),
        (planted.Chaotic(), "the network is unstable: rounding its input moves its answers by 0.* of their range: .*; check how"),
        (planted.Undefined(), "PyTorch's own answer has NaN in output, first in body; check the weights"),
        (planted.CubeRoot(), "it calls autograd functions: Foreign in body"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else None,
)
def test_what_cannot_be_proven_is_refused(body: torch.nn.Module, reason: str, workplace: Path) -> None:
    refused(planted.save(workplace, body), ExportError, reason, trust=True)


def test_a_wrong_export_is_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that is off by 0.1 % in one layer: all else is as it should be."""
    from se_deploy.stages.steps import attempts

    def scaling(*args: Any, **kwargs: Any) -> onnx.ModelProto:
        model = right(*args, **kwargs)
        (weight,) = [w for w in model.graph.initializer if w.name == "head.weight"]
        weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1.001), weight.name))
        return model

    right = attempts.to_onnx
    monkeypatch.setattr(attempts, "to_onnx", scaling)
    refused(planted.save(workplace), ExportError, "output differs by", trust=True, **TS)


def test_a_wrong_fusion_is_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from se_deploy.stages import export as stage

    def shifting(model: onnx.ModelProto, **kwargs: Any) -> Any:
        result = right(model, **kwargs)
        (bias,) = [w for w in result.model.graph.initializer if w.name.endswith(".b2")]
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1e-3), bias.name))
        return result

    right = stage.fused
    monkeypatch.setattr(stage, "fused", shifting)
    refused(planted.save(workplace), ExportError, "the fused graph is not the plain one: output differs", trust=True, **TS)


def test_memory_efficient_activations_are_exported_as_plain_ones(workplace: Path) -> None:
    made = export(planted.save(workplace, planted.MemoryEfficient()), trust=True)
    assert {"SwishAutoFn (in body.one) is SiLU, to rounding", "HardSwishAutoFn (in body.two) is Hardswish, to rounding"} <= set(made.notes)
    assert [node.op_type for node in onnx.load(made.output / "plain.onnx").graph.node].count("HardSwish") == 1
    assert manifest(made.output).weights is None
    assert set(os.listdir(made.output)) == FILES - {"weights.safetensors"}


def test_no_se_block_is_said(workplace: Path) -> None:
    torch.save(timm.create_model("resnet18", num_classes=3).state_dict(), "plain.pth")
    made = export("plain.pth", **TS, input="input=1x3x32x32")
    assert made.se_blocks == 0
    assert "no SE block was found: nothing is fused" in made.notes


def test_preprocessing_that_nothing_says_is_imagenet_and_that_is_said(workplace: Path) -> None:
    made = export(planted.save(workplace), trust=True, **TS)
    assert manifest(made.output).preprocess == Preprocess(resize=36, crop=32)
    assert any(note.startswith("nothing says how images are prepared: imagenet is assumed") for note in made.notes)


def test_flags_win_over_a_preset_over_the_checkpoint(workplace: Path) -> None:
    source = planted.save(workplace, mean=[0.1, 0.2, 0.3], std=[1, 1, 1])
    assert manifest(export(source, trust=True, **TS).output).preprocess.mean == (0.1, 0.2, 0.3)
    made = export(source, trust=True, **TS, preprocess="vggface2", std=(2.0, 3.0, 4.0), resize=40, interpolation="nearest")
    expected = Preprocess(
        color="BGR", scale=1.0, mean=(91.4953, 103.8827, 131.0912), std=(2, 3, 4), resize=40, crop=32, interpolation="nearest"
    )
    assert manifest(made.output).preprocess == expected
    assert not any("assumed" in note for note in made.notes)


@pytest.mark.parametrize(
    ("options", "kind", "reason"),
    [
        ({"color": "L"}, ImageError, r"gives 1 channel\(s\) \(L\), the network takes 3"),
        ({"mean": (0.5,)}, ImageError, "mean and std have 1 and 3 values"),
        ({"crop": 30}, ImageError, "come out as 30x30, the network takes 32x32"),
        ({"preprocess": "imagnet"}, ImageError, "no preprocessing preset is called 'imagnet'"),
        ({"preprocess": "none.json"}, ImageError, "cannot read none.json"),
        ({"input": "input=1x1x32x32"}, ExportError, r"--input has 1 channel\(s\), the network takes 3"),
        ({"input": "3x32x32"}, ExportError, "not of the form NAME=1x3x224x224"),
        ({"input": "x=2x3x32x32"}, ExportError, "batch of 2"),
        ({"input": "x=1x3x0x32"}, ExportError, "a size of 0"),
        ({"opset": 12}, ExportError, "no exporter writes opset 12"),
        ({"labels": "none.txt"}, ExportError, "cannot read the labels in none.txt"),
        ({"labels": "four.txt"}, ExportError, "has 4 labels, the network has 5 classes"),
        ({"labels": "gap.txt"}, ExportError, "line 2 of gap.txt is empty"),
        ({"labels": "numbers.json"}, ExportError, "holds something else than names"),
        ({"trust": False}, LoadError, "--trust"),
    ],
    ids=str,
)
def test_options_that_contradict_the_network(options: dict[str, Any], kind: type[SeDeployError], reason: str, workplace: Path) -> None:
    Path("four.txt").write_text("a\nb\nc\nd\n")
    Path("gap.txt").write_text("a\n\nc\nd\ne\n")
    Path("numbers.json").write_text("[1, 2, 3, 4, 5]")
    refused(planted.save(workplace), kind, reason, **{"trust": True, **TS, **options})


@pytest.mark.parametrize(("name", "text"), [("five.txt", "a\nb b\nc\nd\ne\n\n"), ("five.json", '["a", "b b", "c", "d", "e"]')])
def test_labels(name: str, text: str, workplace: Path) -> None:
    Path(name).write_text(text)
    made = export(planted.save(workplace, labels=list("vwxyz")), trust=True, labels=name, **TS)
    assert manifest(made.output).labels == ("a", "b b", "c", "d", "e")


def test_labels_of_the_checkpoint(workplace: Path) -> None:
    made = export(planted.save(workplace, labels=list("vwxyz")), trust=True, **TS)
    assert manifest(made.output).labels == tuple("vwxyz")


def test_another_source_is_not_overwritten_without_force(workplace: Path) -> None:
    one = planted.save(workplace, name="one.pt")
    export(one, output="out", trust=True, **TS)
    kept = {file.name: sha256(file) for file in Path("out").iterdir()}
    two = planted.save(workplace, planted.MemoryEfficient(), name="two.pt")
    refused(two, ArtifactError, "out holds the export of one.pt; add --force", output="out", trust=True, **TS)
    Path("other").mkdir()
    other = planted.save(Path("other"), planted.MemoryEfficient(), name="one.pt")
    refused(other, ArtifactError, "out holds the export of another one.pt", output="out", trust=True, **TS)
    assert {file.name: sha256(file) for file in Path("out").iterdir()} == kept
    export(two, output="out", trust=True, force=True, **TS)
    assert manifest("out").source.file == "two.pt"


def test_places_that_cannot_take_an_export(workplace: Path) -> None:
    source = planted.save(workplace)
    Path("file").write_text("mine")
    refused(source, ArtifactError, "file is a file", output="file", trust=True, **TS)
    Path("unknown").mkdir()
    Path("unknown/model.onnx").write_text("whose?")
    refused(source, ArtifactError, "holds a model that no manifest describes", output="unknown", trust=True, **TS)
    Path("unknown/manifest.json").write_text("{}")
    refused(source, ArtifactError, "unknown holds something else", output="unknown", trust=True, **TS)


def test_an_onnx_source(exported: Path, workplace: Path) -> None:
    made = export(exported / "plain.onnx", output="again", mean=(0, 0, 0), std=(1, 1, 1))
    said, first = manifest("again"), manifest(exported)
    assert (said.exporter, said.opset, said.se_blocks, said.weights) == ("onnx", 20, 9, None)
    assert said.inputs == first.inputs
    assert said.outputs == first.outputs
    assert said.source.arch is None
    assert set(os.listdir("again")) == FILES - {"weights.safetensors"}
    assert [n.name for n in onnx.load("again/model.onnx").graph.node] == [n.name for n in onnx.load(exported / "model.onnx").graph.node]
    with np.load("again/reference.npz") as reference:
        probes, answers = reference["input.pixels"], reference["output.output"]
    np.testing.assert_allclose(run(exported / "plain.onnx", probes), answers, rtol=0, atol=1e-5 * np.ptp(answers))
    assert any("imagenet is assumed apart from --mean, --std" in note for note in made.notes)


def test_a_fused_onnx_source_is_written_out_again(exported: Path) -> None:
    export(exported / "model.onnx", output="again", batch=2)
    assert manifest("again").se_blocks == 9
    assert manifest("again").inputs[0].shape == (2, 3, 64, 64)
    assert not any(node.domain for node in onnx.load("again/plain.onnx").graph.node)
    onnx.checker.check_model(onnx.load("again/model.onnx"), full_check=True)


def test_an_export_does_not_overwrite_its_own_source(exported: Path, workplace: Path) -> None:
    refused(exported / "plain.onnx", ArtifactError, "overwrite its own source", output=exported, force=True)


def test_a_network_that_takes_one_image_at_a_time(workplace: Path) -> None:
    program = torch.export.export(planted.Net().eval(), (torch.zeros(1, 3, 32, 32),))
    torch.export.save(program, "one.pt2")
    made = export("one.pt2", trust=True)
    assert manifest(made.output).inputs[0].shape == (1, 3, 32, 32)


def test_progress_names_every_step(workplace: Path) -> None:
    seen: dict[str, list[tuple[int, int | None]]] = {}
    export(planted.save(workplace), trust=True, **TS, progress=lambda what, done, total: seen.setdefault(what, []).append((done, total)))
    assert seen["ask PyTorch"] == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert {"export with torchscript", "compare with PyTorch", "find SE blocks", "compare fused with plain"} <= seen.keys()


def test_the_module_is_as_before(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from se_deploy.stages.steps import from_network

    loaded: list[Any] = []
    states: list[Any] = []

    def watching(*args: Any, **kwargs: Any) -> Any:
        loaded.append(right(*args, **kwargs))
        states.append(copy.deepcopy(loaded[0].module.state_dict()))
        return loaded[0]

    right: Callable[..., Any] = from_network.load
    monkeypatch.setattr(from_network, "load", watching)
    export(planted.save(workplace, planted.MemoryEfficient()), trust=True, **TS)
    module = loaded[0].module
    assert all(torch.equal(value, states[0][key]) for key, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(weight.requires_grad for weight in module.parameters())
