"""The loader's way through a plan, from the plugin to the copied outputs, against NVIDIA's interfaces with a small network behind them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from se_deploy.artifacts import FileRef, InputSpec, OutputSpec, PluginRef, Preprocess
from se_deploy.backends.cpp.compiling import headers
from tests.runtime import fake_tensorrt, stubs
from tests.runtime.test_sample import classify
from tests.serving import engines

HOW = Preprocess(resize=(4, 4), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("fake")
    found = headers()
    library = fake_tensorrt.library(folder, found["SE_TENSORRT_INCLUDE"], found["SE_CUDA_INCLUDE"])
    return {"SE_TENSORRT": str(library), "LD_LIBRARY_PATH": str(stubs.driver(folder / "driver"))}


def plan(folder: Path, fault: str = "none", plugin: str | None = None) -> Path:
    """A plan whose bytes tell the fake what is to go wrong."""
    path = engines.plan(folder, plugin=False)
    path.write_bytes(fault.encode())
    reference = None
    if plugin is not None:
        path.with_name(plugin).write_bytes(b"library")
        reference = PluginRef(file=plugin, sha256=FileRef.of(path.with_name(plugin)).sha256, version="1", layers=1)
    spec = InputSpec(name="x", dtype="float32", shape=("N", 3, 4, 4), min=(1, 3, 4, 4), opt=(4, 3, 4, 4), max=(8, 3, 4, 4))
    output = OutputSpec(name="y", dtype="float32", shape=("N", 10))
    return engines.changed(path, engine=FileRef.of(path), plugin=reference, inputs=(spec,), outputs=(output,), preprocess=HOW)


def pictures(folder: Path, count: int) -> list[Path]:
    made = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(made):
        Image.new("RGB", (5, 6), (number, 2 * number, 7)).save(path)
    return made


@pytest.mark.parametrize("plugin", [None, "good_plugin.so"])
def test_batches_of_every_size_are_copied_in_run_and_copied_out(
    sanitized: Path, variables: dict[str, str], tmp_path: Path, plugin: str | None
) -> None:
    """Nineteen images: batches of 8, 8 and 3, so that buffers grow once and are used again."""
    files = pictures(tmp_path, 19)
    done = classify(sanitized, plan(tmp_path / "engine", plugin=plugin), *map(str, files), "--raw", str(tmp_path / "raw"), **variables)
    assert done.returncode == 0, done.stderr
    got = np.fromfile(tmp_path / "raw", np.float32).reshape(19, 10)
    sums = np.array([16 * (3 * number + 7) / 255 for number in range(19)])
    np.testing.assert_allclose(got, sums[:, None] * np.arange(1, 11), rtol=1e-5)
    assert all(line.endswith(")") and "class 9" in line for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("refused", "TensorRT 10.13.3 does not take .*: the engine plan file is not compatible; build it with this TensorRT, on this GPU"),
        ("more", "the plan has other tensors than its manifest"),
        ("name", "the plan's tensor z is not as its manifest says"),
        ("type", "the plan's tensor x is not as its manifest says"),
        ("context", "TensorRT makes no context"),
        ("enqueue", "TensorRT does not run: the kernel does not launch"),
        ("data", "the shape of output y depends on the data"),
    ],
)
def test_what_tensorrt_refuses_is_one_line(sanitized: Path, variables: dict[str, str], tmp_path: Path, fault: str, said: str) -> None:
    (file,) = pictures(tmp_path, 1)
    done = classify(sanitized, plan(tmp_path / "engine", fault), str(file), **variables)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert re.search(said, line), line


def test_a_plugin_that_tensorrt_does_not_take_is_told(sanitized: Path, variables: dict[str, str], tmp_path: Path) -> None:
    (file,) = pictures(tmp_path, 1)
    done = classify(sanitized, plan(tmp_path / "engine", plugin="bad_plugin.so"), str(file), **variables)
    assert "TensorRT 10.13.3 does not take the plugin" in done.stderr
