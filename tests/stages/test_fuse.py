from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

import se_deploy
from se_deploy import op
from se_deploy.errors import ArtifactError, GraphError
from tests.graph.exported import exported, images, run


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.onnx"
    model = exported("legacy_seresnet18")
    model.graph.node[3].doc_string = f"{Path.cwd()}/net.py"
    onnx.save(model, path)
    return path


def blocks(model: onnx.ModelProto) -> list[str]:
    return [node.name for node in model.graph.node if op.variant_of(node)]


def test_there_and_back(plain: Path, tmp_path: Path) -> None:
    source, steps = plain.read_bytes(), []
    out, back = tmp_path / "new" / "fused.onnx", tmp_path / "back.onnx"
    made = se_deploy.fuse(plain, out, progress=lambda what, done, total: steps.append((what, done, total)))
    assert (made.output, made.se_blocks, made.manifest, made.backend, made.notes) == (out, 8, None, None, ())
    assert made.seconds > 0
    assert [(done, total) for _, done, total in steps] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert plain.read_bytes() == source
    fused = onnx.load(out)
    onnx.checker.check_model(fused, full_check=True)
    assert blocks(fused) == [f"layer{i}.{j}.se_module" for i in (1, 2, 3, 4) for j in (0, 1)]
    assert str(Path.cwd()).encode() not in out.read_bytes()
    unmade = se_deploy.fuse(out, back, unfuse=True)
    assert unmade.se_blocks == 0
    again = onnx.load(back)
    onnx.checker.check_model(again, full_check=True)
    assert not again.functions
    for batch in (1, 3):
        x = images(batch, 64)
        expected = run(onnx.load(plain), x)
        for model in (fused, again):
            assert np.abs(run(model, x) - expected).max() < 1e-5 * np.ptp(expected)
    assert se_deploy.fuse(back, back, force=True).se_blocks == 8


def test_what_is_there_is_not_overwritten(plain: Path, tmp_path: Path) -> None:
    source = plain.read_bytes()
    with pytest.raises(ArtifactError, match="is there already; add --force"):
        se_deploy.fuse(plain, plain)
    with pytest.raises(ArtifactError, match="is a folder"):
        se_deploy.fuse(plain, tmp_path, force=True)
    assert plain.read_bytes() == source
    (tmp_path / "old.onnx").write_text("old")
    assert se_deploy.fuse(plain, tmp_path / "old.onnx", force=True).se_blocks == 8


def test_a_broken_file_leaves_the_old_one(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.write_text("old")
    plain.write_bytes(plain.read_bytes()[:100_000])
    with pytest.raises(GraphError, match="truncated"):
        se_deploy.fuse(plain, out, force=True)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.onnx", "plain.onnx"]


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    path = tmp_path / "relu.onnx"
    onnx.save(parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }'), path)
    assert se_deploy.fuse(path, tmp_path / "a.onnx").notes == ("no SE block was found: the graph is as it was",)
    assert se_deploy.fuse(path, tmp_path / "b.onnx", unfuse=True).notes == ("there is no SqueezeExcite node: the graph is as it was",)
