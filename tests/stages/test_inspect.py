import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import se_deploy
from se_deploy import artifacts
from se_deploy.artifacts import Block, FileRef, InputSpec, ModelManifest, Preprocess, SourceRef
from se_deploy.errors import GraphError
from se_deploy.graph.reasons import REASONS
from tests.graph.exported import exported

KEYS = ["blocks", "fused", "rejected", "params", "se_params", "se_weights", "macs", "se_macs"]
BLOCK_KEYS = ["name", "pooled", "channels", "reduced", "activation", "gate", "alpha", "beta", "skip", "epilogue", "params", "macs"]


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resnet") / "model.onnx"
    onnx.save(exported("legacy_seresnet50", 224), path)
    return path


def test_se_resnet_50(resnet: Path) -> None:
    report = se_deploy.inspect(resnet)
    assert [block.name for block in report.blocks] == [f"layer{i + 1}.{j}.se_module" for i, n in enumerate((3, 4, 6, 3)) for j in range(n)]
    assert (report.fused, report.rejected, report.notes) == (0, (), ())
    assert (report.params, report.se_params, report.se_weights) == (28_061_464, 2_530_992, 2_514_944)
    assert (report.macs, report.se_macs) == (3_871_526_912, 13_553_664)
    assert report.blocks[-1] == Block(
        name="layer4.2.se_module",
        pooled="/layer4/layer4.2/conv3/Conv_output_0",
        channels=2048,
        reduced=128,
        activation="relu",
        gate="sigmoid",
        alpha=None,
        beta=None,
        skip="add",
        epilogue="relu",
        params=526_464,
        macs=724_992,
    )
    assert se_deploy.inspect(str(resnet.parent)) == report


def test_the_json_is_the_contracts(resnet: Path) -> None:
    report = json.loads(se_deploy.inspect(resnet).model_dump_json())
    assert list(report) == KEYS
    assert list(report["blocks"][0]) == BLOCK_KEYS


def test_a_fused_file_and_its_plain_one_report_alike(tmp_path: Path) -> None:
    plain, fused = tmp_path / "plain.onnx", tmp_path / "fused.onnx"
    onnx.save(exported("mobilenetv3_small_050"), plain)
    se_deploy.fuse(plain, fused)
    before, after = se_deploy.inspect(plain), se_deploy.inspect(fused)
    assert (before.fused, after.fused, len(after.blocks)) == (0, 9, 9)
    assert before.blocks[0].gate == "hardsigmoid"
    assert before.blocks[0].alpha == pytest.approx(1 / 6)
    assert before.model_copy(update={"fused": 9}) == after


def near_miss(shape: str) -> onnx.ModelProto:
    """A gate pooled from a map and multiplied with what a Relu makes of it."""
    lines = "p = GlobalAveragePool(x) a = Conv(p, w1) b = Relu(a) c = Conv(b, w2) g = Sigmoid(c) r = Relu(x) [net_mul] y = Mul(r, g)"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x) => (float[{shape}] y) {{ {lines} }}')
    for name, sizes in (("w1", (2, 4, 1, 1)), ("w2", (4, 2, 1, 1))):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(sizes, np.float32), name))
    return model


def test_a_near_miss_has_its_node_an_id_and_a_reason(tmp_path: Path) -> None:
    onnx.save(near_miss("N, 4, 6, 5"), tmp_path / "miss.onnx")
    report = se_deploy.inspect(tmp_path / "miss.onnx")
    assert (report.blocks, report.params, report.se_params, report.macs, report.se_macs) == ((), 16, 0, 16, 0)
    [miss] = report.rejected
    assert miss.node == "net_mul"
    assert miss.id in REASONS
    assert len(miss.reason.split()) > 3


def test_sizes_left_open_are_the_manifests_or_224(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(exported("mobilenetv3_small_050", any_size=True), path)
    assumed = se_deploy.inspect(path)
    assert assumed.notes == ("input 'input' has no fixed size: counted at 1x3x224x224",)
    ref = FileRef(file="model.onnx", sha256="0")
    shape = ("batch", 3, "height", "width")
    size = InputSpec(name="input", dtype="float32", shape=shape, min=(1, 3, 32, 32), opt=(8, 3, 64, 64), max=(32, 3, 256, 256))
    manifest = ModelManifest(
        name="net", source=SourceRef(file="net.pt", sha256="0"), model=ref, plain=FileRef(file="plain.onnx", sha256="0"), weights=None,
        reference=ref, exporter="torchscript", opset=17, versions={}, inputs=(size,), outputs=(), preprocess=Preprocess(), labels=None,
        se_blocks=9,
    )  # fmt: skip
    artifacts.write(manifest, tmp_path / "manifest.json")
    declared = se_deploy.inspect(path)
    assert declared.notes == ()
    onnx.save(exported("mobilenetv3_small_050"), tmp_path / "fixed.onnx")
    assert declared.macs == se_deploy.inspect(tmp_path / "fixed.onnx").macs < assumed.macs
    onnx.save(exported("mobilenetv3_small_050", any_size=True), tmp_path / "other.onnx")
    assert se_deploy.inspect(tmp_path / "other.onnx") == assumed  # not the manifest's model
    (tmp_path / "manifest.json").write_text("{}")
    assert se_deploy.inspect(path) == assumed


@pytest.mark.parametrize("name", ["", "missing.onnx"])
def test_no_such_model(tmp_path: Path, name: str) -> None:
    with pytest.raises(GraphError, match=r"cannot read .*(model|missing)\.onnx"):
        se_deploy.inspect(tmp_path / name)
