import json
from pathlib import Path

import onnx
import pytest
import typer
from typer.testing import CliRunner, Result

import se_deploy
from se_deploy.cli.inspect import inspect
from tests.graph.exported import exported
from tests.stages.exports import directory, pictures
from tests.stages.test_inspect import BLOCK_KEYS, KEYS, near_miss


def command(*words: str | Path) -> Result:
    app = typer.Typer()
    app.command()(inspect)
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "model.onnx"
    onnx.save(exported("mobilenetv3_small_050"), path)
    return path


def test_the_table_has_every_block_and_the_totals(model: Path) -> None:
    report = se_deploy.inspect(model)
    done = command(model)
    assert done.exit_code == 0
    assert done.stderr == ""
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    for block in report.blocks:
        sizes = [str(block.channels), str(block.reduced)]
        ends = [block.skip, block.epilogue, f"{block.params:,}", f"{block.macs:,}"]
        assert rows[block.name] == [block.name, block.pooled, *sizes, "relu", "hardsigmoid", "0.167,", "0.5", *ends]
    assert "SE blocks   9, 0 of them fused; near misses: 0\n" in done.stdout
    assert f"parameters  {report.params:,}, in SE blocks {report.se_params:,}" in done.stdout
    assert f"MACs        {report.macs:,}, in SE blocks {report.se_macs:,}" in done.stdout


def test_json_is_one_object_on_stdout(model: Path) -> None:
    done = command(model.parent, "--json")
    report = json.loads(done.stdout)
    assert list(report) == KEYS
    assert list(report["blocks"][0]) == BLOCK_KEYS
    assert len(report["blocks"]) == 9


def test_near_misses_and_notes_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "miss.onnx"
    onnx.save(near_miss("N, 4, H, W"), path)
    [miss] = se_deploy.inspect(path).rejected
    done = command(path)
    [row] = [line for line in done.stdout.splitlines() if miss.id in line]
    assert row.split() == [miss.node, miss.id, *miss.reason.split()]
    assert "SE blocks   0, 0 of them fused; near misses: 1" in done.stdout
    assert done.stderr == "note: input 'x' has no fixed size: counted at 1x4x224x224\n"


def test_help_has_examples() -> None:
    assert "se-deploy inspect engines/se_resnet50 --json" in command("--help").stdout


def test_gates_are_shown_and_written(tmp_path: Path) -> None:
    model, images = directory(tmp_path), pictures(tmp_path / "imgs", 4)
    done = command(model, "--data", images, "--html", tmp_path / "gates.html", "--csv", tmp_path / "csv")
    assert done.exit_code == 0, done.stderr
    assert "gates on 4 images" in done.stdout
    assert (tmp_path / "gates.html").stat().st_size > 1_000_000
    assert sorted(p.name for p in (tmp_path / "csv").iterdir()) == ["blocks.csv", "channels.csv", "classes.csv", "gates.csv", "ranking.csv"]
    report = json.loads(command(model, "--data", images, "--json").stdout)
    assert list(report) == [*KEYS, "gates"]
    assert [block["name"] for block in report["gates"]["blocks"]] == ["se", "se2"]


def test_a_target_adds_what_blocks_cost_there(model: Path) -> None:
    done = command(model, "--target", "sm_90", "--batch", "8")
    assert done.exit_code == 0, done.stderr
    assert "predicted on sm_90 (NVIDIA H100 SXM), fp16, batch 8; not measured" in done.stdout
    report = json.loads(command(model, "--target", "sm_90", "--batch", "8", "--json").stdout)
    assert list(report) == [*KEYS, "cost"]
    for block in report["cost"]["blocks"]:
        [row] = [line for line in done.stdout.splitlines() if line.split()[:1] == [block["name"]] and "→" in line]
        assert f"{block['fused']['bytes']:,}" in row
    wrong = command(model, "--target", "sm_9000")
    assert "no device is known" in str(wrong.exception)
