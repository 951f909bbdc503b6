import json
import subprocess
import sys
from pathlib import Path

from tests.quant import small
from tests.stages.exports import directory
from tests.stages.test_fold import held, images, lively

__all__ = ["images"]


def fold(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "se_deploy", "fold", *words], capture_output=True, text=True, check=False)


def test_the_path_is_all_that_stands_on_stdout(tmp_path: Path, images: Path) -> None:  # noqa: F811
    model = directory(tmp_path, lively(held(small.network(), "se"), "se2"))
    done = fold(model, "--data", images, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out'}\n"
    rows = {line.split()[0]: line.split() for line in done.stderr.splitlines() if line.strip()}
    assert rows["se"][-2:] == ["folded", "before"]
    assert rows["se2"][-1] == "varies"
    assert done.stderr.count("no bound was named") == 1

    again = fold(model, "--data", images, "-o", tmp_path / "out")
    assert (again.returncode, again.stdout) == (1, "")
    assert [line for line in again.stderr.splitlines() if "…" not in line] == [
        f"error: {tmp_path / 'out'} holds a model already; add --force, or choose another place with -o"
    ]
    forced = fold(model, "--data", images, "-o", tmp_path / "out", "--force", "--json")
    keys = ["output", "manifest", "backend", "precision", "se_blocks", "plugin_layers", "images", "seconds", "peak_rss_mb", "fallback"]
    assert list(json.loads(forced.stdout)) == keys


def test_a_bound_that_nothing_keeps_is_exit_3_and_leaves_nothing(tmp_path: Path, images: Path) -> None:  # noqa: F811
    done = fold(directory(tmp_path), "--data", images, "-o", tmp_path / "out", "--epsilon", "0.3", "--min-agreement", "100")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no block can be folded" in done.stderr
    assert not (tmp_path / "out").exists()
