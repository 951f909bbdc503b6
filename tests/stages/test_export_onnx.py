"""`export` of ONNX files that leave sizes open, claim more than they do, or are not what is asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from se_deploy.errors import ExportError, GraphError, SeDeployError
from se_deploy.stages.export import export
from tests.stages.exporting import manifest, refused


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


HEAD = '<ir_version: 10, opset_import: ["" : 17]> g '
OPEN = HEAD + "(float[N,3,H,W] x) => (float[a,b] y) { m = GlobalAveragePool(x)  y = Flatten(m) }"
LIAR = HEAD + "(float[N,3,H,W] x) => (float[a,b] y) <int64[2] s = {1, 3}> { m = GlobalAveragePool(x)  y = Reshape(m, s) }"
STRICT = (
    HEAD
    + """(float[N,3,H,W] x) => (float[a,b] y) <int64[5] s = {0, 0, 0, 112, 2}>
    { r = Reshape(x, s)  q = Relu(r)  t = Shape(x)  u = Reshape(q, t)  m = GlobalAveragePool(u)  y = Flatten(m) }"""
)


def write(text: str) -> str:
    onnx.save(onnx.parser.parse_model(text), "some.onnx")
    return "some.onnx"


def test_an_onnx_file_that_leaves_its_sides_open() -> None:
    made = export(write(OPEN))
    (spec,) = manifest(made.output).inputs
    assert spec.shape == ("N", 3, "H", "W")
    assert (spec.min[2:], spec.opt[2:], spec.max[2:]) == ((169, 141), (224, 224), (281, 309))
    assert any("height and width open: checked at 224x224" in note for note in made.notes)
    assert manifest(made.output).outputs[0].shape == ("N", 3)
    made = export("some.onnx", spatial="fixed", batch=2, input="x=1x3x48x40")
    assert manifest(made.output).inputs[0].shape == (2, 3, 48, 40)


def test_an_onnx_file_that_is_less_dynamic_than_it_says() -> None:
    made = export(write(LIAR), input="x=1x3x32x32")
    assert manifest(made.output).inputs[0].shape == (1, 3, "H", "W")
    assert any(note.startswith("fixed the batch at 1, for it does not run as it declares: ") for note in made.notes)
    made = export(write(STRICT), force=True)
    assert manifest(made.output).inputs[0].shape == ("N", 3, 224, 224)
    assert any(note.startswith("fixed height and width at 224x224, for") for note in made.notes)


@pytest.mark.parametrize(
    ("text", "options", "kind", "reason"),
    [
        (LIAR, {"batch": "dynamic"}, ExportError, "ONNX Runtime fails on an input of 2x3x"),
        (STRICT, {"spatial": "dynamic"}, ExportError, "ONNX Runtime fails on an input of 2x3x169x141"),
        (OPEN.replace("[N,3", "[4,3"), {"batch": "dynamic"}, ExportError, "fixes its batch at 4, --batch says dynamic"),
        (OPEN.replace("H,W", "8,8"), {"spatial": "dynamic"}, ExportError, "fixes its height and width"),
        (OPEN.replace("H,W", "8,8"), {"input": "x=1x3x16x16"}, ExportError, "--input says 3x16x16, the graph takes 3x8x8"),
        (OPEN, {"input": "y=1x3x16x16"}, ExportError, "--input names y, the graph's input is x"),
        (OPEN, {"opset": 16}, ExportError, "the file has opset 17, --opset says 16"),
        (OPEN, {"arch": "timm:seresnet18", "exporter": "dynamo"}, ExportError, "--arch, --exporter say nothing about an .onnx file"),
        (OPEN.replace("Flatten(m)", "Log(n)").replace("m = ", "n = "), {}, ExportError, "its own answer has NaN or infinity in y"),
        (OPEN.replace("x) =>", "x, float[N] z) =>"), {}, GraphError, "has 2 inputs"),
    ],
    ids=["batch", "sides", "fixed batch", "fixed sides", "size", "name", "opset", "useless options", "NaN", "two inputs"],
)
def test_onnx_sources_that_are_refused(text: str, options: dict[str, Any], kind: type[SeDeployError], reason: str) -> None:
    refused(write(text), kind, reason, **options)


def test_an_onnx_file_is_raised_to_a_later_opset_and_answers_the_same() -> None:
    source = write(OPEN.replace(": 17]", ": 11]").replace("y = Flatten(m)", "f = Flatten(m)  y = Softmax <axis = 1> (f)"))
    made = export(source, opset=17, input="x=1x3x40x40")
    assert manifest(made.output).opset == 17
    assert onnx.load(made.output / "model.onnx").opset_import[0].version == 17
    before = onnx.load(source)
    images = np.random.default_rng(0).standard_normal((2, 3, 9, 7)).astype(np.float32)
    answers = [ReferenceEvaluator(m).run(None, {"x": images})[0] for m in (before, onnx.load(made.output / "plain.onnx"))]
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-6)


def test_opsets_that_onnx_does_not_know() -> None:
    refused(write(OPEN), GraphError, "ONNX cannot convert opset 17 to 999", opset=999)


def test_a_truncated_onnx_file() -> None:
    write(OPEN)
    Path("some.onnx").write_bytes(Path("some.onnx").read_bytes()[:-7])
    refused("some.onnx", GraphError, "some.onnx is truncated or not an ONNX file")
