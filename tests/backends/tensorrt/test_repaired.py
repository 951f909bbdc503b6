"""TensorRT-RTX takes the file of a repaired network: factors behind a Mul or inside, constants before pairs, SE blocks in int8 form."""

import json
from pathlib import Path

import pytest

from se_deploy import artifacts
from se_deploy.artifacts import Scales
from se_deploy.stages.build import build
from se_deploy.stages.calibrate import calibrate
from tests.stages import exports
from tests.stages.test_repairs import imbalanced


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("act", ["Relu", "HardSwish"])
def test_a_repaired_network_builds(act: str, opset: int, tmp_path: Path, plugin: Path) -> None:
    model = exports.directory(tmp_path, imbalanced(act, opset))
    file = calibrate(model, calib=exports.pictures(tmp_path / "imgs", 40), output=tmp_path / "s.json").output
    table = artifacts.read(Scales, file)
    assert table.repairs is not None
    assert set(table.repairs.factors) >= {"spread"}
    shifted = ("silu", "silu/equalised", "sum", "sum/equalised")
    artifacts.write(table.model_copy(update={"repairs": table.repairs.model_copy(update={"shifted": shifted})}), file)
    for asked, layers in (("auto", 2), ("off", 0)):
        result = build(model, int8=True, scales=file, backend="tensorrt-rtx", target=["sm_89"], plugin=asked, force=True)
        assert (result.se_blocks, result.plugin_layers) == (2, layers)
        if asked == "auto":
            written = json.loads((model / "engine.layers.json").read_text())["layers"]
            assert [layer["inputs"][0]["dtype"] for layer in written if layer["plugin"]] == ["INT8", "INT8"]
            assert any(layer["name"].endswith("/Add") for layer in written)
