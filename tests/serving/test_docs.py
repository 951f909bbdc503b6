"""The programs in docs/serving.md, taken from it, compiled and run: the clients against a real Triton."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from se_deploy import package
from se_deploy.files import runtime_sources
from se_deploy.images import decode, preprocess
from tests.runtime import compiled
from tests.serving import engines
from tests.serving.server import Server, serving
from tests.stages import exports

DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"


def example(name: str, folder: Path) -> Path:
    """A program of the document, as a file."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
    assert found, f"{DOCUMENT} has no example {name}"
    (folder / name).write_text(found[1] + "\n")
    return folder / name


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engines.engine(tmp_path_factory.mktemp("documented"))


@pytest.fixture(scope="module")
def server(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("repository")
    package(engine, triton=repository, ensemble=True)
    with serving(repository, strict=True) as started:
        yield started


def best(engine: Path, path: Path) -> str:
    """`index:label` of what the network finds in an image."""
    scores = engines.session_answers(engine, preprocess(decode(path), exports.HOW)[None])
    return f"{np.argmax(scores)}:{engines.LABELS[int(np.argmax(scores))]}"


def test_the_python_client_prints_the_classes(server: Server, engine: Path, tmp_path: Path) -> None:
    paths = sorted(exports.pictures(tmp_path / "imgs", 4).iterdir())
    said = compiled.run([sys.executable, str(example("client.py", tmp_path)), server.http, "small_images", *map(str, paths)])
    for path, line in zip(paths, said.splitlines(), strict=True):
        assert line.partition(" ")[2].partition(":")[2] == best(engine, path)


def test_the_cpp_client_prints_the_classes(server: Server, engine: Path, tmp_path: Path) -> None:
    compiled.tools("c++")
    program = tmp_path / "client"
    source = example("client.cpp", tmp_path)
    if subprocess.run(["c++", "-E", "-include", "curl/curl.h", "-x", "c++", "/dev/null"], capture_output=True, check=False).returncode:
        pytest.skip("no curl/curl.h: run tests/setup.sh")
    compiled.run(["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", str(source), "-lcurl", "-o", str(program)])
    paths = sorted(exports.pictures(tmp_path / "imgs", 4).iterdir())
    said = compiled.run([str(program), f"http://{server.http}", "small_images", "y", *map(str, paths)])
    for path, line in zip(paths, said.splitlines(), strict=True):
        answer = json.loads(line.removeprefix(f"{path} "))
        assert answer["outputs"][0]["data"][0].partition(":")[2] == best(engine, path)


def test_the_program_around_the_loader_compiles_and_answers(library: Path, engine: Path, tmp_path: Path) -> None:
    source, program = example("program.cpp", tmp_path), tmp_path / "program"
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{runtime_sources()}"]
    compiled.run(["c++", *flags, str(source), str(library), f"-Wl,-rpath,{library.parent}", "-o", str(program)])
    done = subprocess.run([str(program), str(engine)], capture_output=True, text=True, check=False, env=compiled.environment())
    assert done.returncode == 0, done.stderr
    black = preprocess(Image.new("RGB", (640, 480)), exports.HOW)[None]
    assert float(done.stdout) == pytest.approx(float(engines.session_answers(engine, black)[0][0]), rel=1e-4)
    done = subprocess.run([str(program), "none"], capture_output=True, text=True, check=False, env=compiled.environment())
    assert (done.returncode, done.stderr) == (1, "no engine none; run `se-deploy build` first\n")
