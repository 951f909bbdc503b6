"""TensorRT-RTX builds real engines here, without a GPU: every SE block of every network is a plugin layer, in FP16 and in INT8."""

import json
from pathlib import Path

import onnx
import pytest

from se_deploy import artifacts
from se_deploy.artifacts import EngineManifest
from se_deploy.files import sha256
from se_deploy.op import VARIANTS
from se_deploy.stages.build import build
from se_deploy.stages.calibrate import calibrate
from tests.backends.tensorrt import networks

pytestmark = pytest.mark.slow
TARGETS = ("sm_89", "sm_120")


@pytest.fixture(scope="module", params=networks.NETWORKS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return networks.directory(request.param, tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="module")
def scales(exported: Path, pictures: Path) -> Path:
    return calibrate(exported, calib=pictures, output=exported / "scales.json").output


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_se_block_is_a_plugin_layer(precision: str, target: str, exported: Path, scales: Path, plugin: Path) -> None:
    blocks = networks.NETWORKS[exported.name][2]
    options = {"scales": scales} if precision == "int8" else {}
    result = build(exported, **{precision: True}, backend="tensorrt-rtx", target=[target], force=True, **options)
    assert (result.backend, result.precision, result.se_blocks, result.plugin_layers) == ("tensorrt-rtx", precision, blocks, blocks)
    made = artifacts.read(EngineManifest, exported / "engine.plan.json")
    assert (made.targets, made.plugin.layers, made.plugin.version, made.se_blocks) == ((target,), blocks, "1", blocks)
    assert (made.inputs[0].min[0], made.inputs[0].opt[0], made.inputs[0].max[0]) == (1, 8, 32)
    for reference in (made.engine, made.plugin):
        assert sha256(exported / reference.file) == reference.sha256
    assert made.plugin.sha256 == sha256(plugin)
    layers = json.loads((exported / "engine.layers.json").read_text())["layers"]
    plugins = [layer for layer in layers if layer["type"] == "PLUGIN_V3"]
    nodes = onnx.load(exported / "model.onnx", load_external_data=False).graph.node
    names = [node.name for node in nodes if "SqueezeExcite" in node.op_type]
    assert [layer["name"] for layer in plugins] == names
    assert all(layer["inputs"][0]["shape"][0] == -1 for layer in plugins)
    for layer in plugins:
        kind = {"fp16": "HALF", "int8": "INT8"}[precision]
        assert (layer["inputs"][0]["dtype"], layer["outputs"][0]["dtype"]) == (kind, kind)
        assert VARIANTS[layer["plugin"]].int8 == (precision == "int8")
