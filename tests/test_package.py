"""The package as a user installs it: a plain wheel, its extras, the sources under plugins/ inside."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


def test_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    code = "import se_deploy; print(se_deploy.__file__, se_deploy.export.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert done.stdout == f"{tmp_path / 'site' / 'se_deploy' / '__init__.py'} export\n"


def test_plugin_sources_travel_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", "plugins"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    sources = tracked or [str(p.relative_to(ROOT)) for p in (ROOT / "plugins").rglob("*") if p.is_file()]
    assert sources
    assert {f"se_deploy/_{name}" for name in sources if not name.endswith(".gitkeep")} <= inside


def test_extras_are_those_of_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) == {
        "demo", "test", "rtx", "tensorrt", "tensorrt10", "plugin", "openvino", "ray", "triton",
    }  # fmt: skip
    for dependency in project["dependencies"]:
        assert re.search(r">=\d", dependency), f"{dependency} has no tested lower bound"


def test_readme_names_only_commands_and_options_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    used = re.findall(r"^\s*(?:\$ )?se-deploy ([a-z]+)([^#\n]*)", readme, re.MULTILINE)
    assert used
    for command, rest in used:
        text = subprocess.run(
            [sys.executable, "-m", "se_deploy", command, "--help"], capture_output=True, text=True, check=True,
            env=os.environ | {"COLUMNS": "200"},
        ).stdout  # fmt: skip
        for option in re.findall(r"(?<!\S)(--?[a-z][a-z0-9-]*)", rest):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), f"README uses {option} of {command}, which it does not have"
