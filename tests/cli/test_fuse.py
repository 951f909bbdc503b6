import json
from pathlib import Path

import onnx
import typer
from typer.testing import CliRunner, Result

from se_deploy import op
from se_deploy.cli.fuse import fuse
from tests.graph.exported import exported


def command(*words: str | Path) -> Result:
    app = typer.Typer()
    app.command()(fuse)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_stdout_holds_the_path_alone(tmp_path: Path) -> None:
    plain, out = tmp_path / "model.onnx", tmp_path / "fused.onnx"
    onnx.save(exported("mobilenetv3_small_050"), plain)
    done = command(tmp_path, "-o", out)
    assert (done.exit_code, done.stdout) == (0, f"{out}\n")
    assert sum(op.variant_of(node) is not None for node in onnx.load(out).graph.node) == 9
    back = command(out, "-o", tmp_path / "back.onnx", "--unfuse", "--json")
    assert json.loads(back.stdout) | {"seconds": 0, "peak_rss_mb": 0} == {
        "output": str(tmp_path / "back.onnx"),
        "manifest": None,
        "backend": None,
        "precision": None,
        "se_blocks": 0,
        "plugin_layers": None,
        "images": None,
        "seconds": 0,
        "peak_rss_mb": 0,
        "fallback": None,
    }


def test_usage() -> None:
    assert command("model.onnx").exit_code == 2
    assert "se-deploy fuse fused.onnx -o plain.onnx --unfuse" in command("--help").stdout
