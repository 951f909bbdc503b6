"""Engines in the C++ loader: the very answers of ONNX Runtime under Python, and a clear word for what is wrong."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from se_deploy import build
from se_deploy.artifacts import Preprocess
from se_deploy.backends.cpp import Loaded
from se_deploy.errors import BackendError
from tests.runtime import identity
from tests.serving import engines
from tests.stages import exports


def opened(library: Path, path: Path) -> Loaded:
    manifest = exports.manifest_of(path)
    return Loaded(library, path, manifest.inputs, manifest.outputs, threads=1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engines.engine(tmp_path_factory.mktemp("loaded"))


@pytest.mark.parametrize("batch", [1, 2, 8, 32])
def test_answers_are_those_of_python(library: Path, engine: Path, batch: int) -> None:
    rows = np.random.default_rng(batch).standard_normal((batch, 3, 32, 32)).astype(np.float32)
    with opened(library, engine) as loader:
        for _ in range(3):
            got = loader.run({"x": rows})["y"]
            np.testing.assert_allclose(got, engines.session_answers(engine, rows), atol=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_precision_answers_as_in_python(library: Path, tmp_path: Path, precision: str) -> None:
    place = exports.directory(tmp_path)
    words = {"fp16": True} if precision == "fp16" else {"int8": True, "calib": exports.pictures(tmp_path / "imgs", 8)}
    path = build(place, **words).output
    rows = exports.batch(exports.pictures(tmp_path / "imgs", 8), 8)
    with opened(library, path) as loader:
        np.testing.assert_allclose(loader.run({"x": rows})["y"], engines.session_answers(path, rows), atol=1e-5)


def test_a_fixed_batch_answers(library: Path, tmp_path: Path) -> None:
    path = engines.engine(tmp_path, "fixed", batch=1)
    rows = np.ones((1, 3, 32, 32), np.float32)
    with opened(library, path) as loader:
        np.testing.assert_allclose(loader.run({"x": rows})["y"], engines.session_answers(path, rows), atol=1e-5)
        with pytest.raises(BackendError, match=r"input x is float32 \[2, 3, 32, 32\]"):
            loader.run({"x": np.ones((2, 3, 32, 32), np.float32)})


def shape(*sizes: int, dtype: str = "float32") -> dict[str, np.ndarray]:
    return {"x": np.zeros(sizes, dtype)}


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        (shape(33, 3, 32, 32), r"input x is float32 \[33, 3, 32, 32\]"),
        (shape(0, 3, 32, 32), r"\[0, 3, 32, 32\]"),
        (shape(1, 3, 31, 32), r"the engine takes float32 \[\?, 3, 32, 32\], from \[1, 3, 32, 32\] to \[32, 3, 32, 32\]"),
        (shape(3, 32, 32), r"input x is float32 \[3, 32, 32\]"),
        (shape(1, 3, 32, 32, dtype="int8"), "input x is int8"),
        (shape(1, 3, 32, 32, dtype="complex64"), "input x is complex64 of 4 dimensions"),
        ({"z": np.zeros((1, 3, 32, 32), np.float32)}, "input x is missing"),
        ({**shape(1, 3, 32, 32), "z": np.zeros(1, np.float32)}, r"2 input\(s\) for 1"),
        ({}, r"0 input\(s\) for 1"),
    ],
)
def test_a_wrong_input_is_refused_and_the_engine_answers_on(library: Path, engine: Path, feeds: dict[str, np.ndarray], said: str) -> None:
    with opened(library, engine) as loader:
        with pytest.raises(BackendError, match=said):
            loader.run(feeds)
        assert loader.run(shape(1, 3, 32, 32))["y"].shape == (1, 10)


def test_an_image_without_pixels_is_refused(library: Path, tmp_path: Path) -> None:
    with opened(library, identity.engine(tmp_path, Preprocess(resize=8))) as loader, pytest.raises(BackendError, match="no image"):
        loader.preprocess(np.zeros((4, 4, 2), np.uint8))


def test_an_image_that_would_grow_beyond_all_bounds_is_refused(library: Path, tmp_path: Path) -> None:
    """One pixel high: a short side of 8,000 would make the long one 800 million."""
    with (
        opened(library, identity.engine(tmp_path, Preprocess(resize=8000))) as loader,
        pytest.raises(BackendError, match="too long for this"),
    ):
        loader.preprocess(np.zeros((1, 100_000, 3), np.uint8))


def change(path: Path, edit: Callable[[dict], None]) -> Path:
    beside = Path(f"{path}.json")
    manifest = json.loads(beside.read_text())
    edit(manifest)
    beside.write_text(json.dumps(manifest))
    return path


def put(**values: object) -> Callable[[dict], None]:
    return lambda manifest: manifest.update(values)


EDITS: dict[str, tuple[Callable[[dict], None], str]] = {
    "format 2": (put(format=2), "the manifest's format is not 1"),
    "no engine": (lambda m: m.pop("engine"), "the manifest's engine is missing"),
    "a short hash": (lambda m: m["engine"].update(sha256="ab"), "the manifest's engine has no SHA-256"),
    "another hash": (lambda m: m["engine"].update(sha256="0" * 64), "is not the engine that the manifest describes"),
    "another file": (lambda m: m["engine"].update(file="other.onnx"), "describes other.onnx"),
    "an unknown backend": (put(backend="openvino"), "is an engine of openvino, which this loader does not have"),
    "an unknown type": (lambda m: m["inputs"][0].update(dtype="bfloat16"), "dtype is a word that this version does not know"),
    "no inputs": (put(inputs=[]), "inputs are none, or too many"),
    "a negative size": (lambda m: m["inputs"][0].update(shape=[-1, 3, 32, 32]), "shape is no size"),
    "a size of 1e300": (lambda m: m["inputs"][0].update(max=[1e300, 3, 32, 32]), "max is no size"),
    "half a size": (lambda m: m["inputs"][0].update(max=[1.5, 3, 32, 32]), "max is no size"),
    "nine dimensions": (lambda m: m["outputs"][0].update(shape=[1] * 9), "shape has too many dimensions"),
    "a profile of another rank": (lambda m: m["inputs"][0].update(opt=[1]), "inputs has a profile of another rank"),
    "a profile that shrinks": (lambda m: m["inputs"][0].update(opt=[64, 3, 32, 32]), "inputs has a profile that does not grow"),
    "a resize of a billion": (lambda m: m["preprocess"].update(resize=10**9), "resize is no size"),
    "a crop of nothing": (lambda m: m["preprocess"].update(crop=0), "crop is no size"),
    "a crop of three": (lambda m: m["preprocess"].update(crop=[1, 2, 3]), "crop is no pair"),
    "a std of zero": (lambda m: m["preprocess"].update(std=[1, 0, 1]), "std is no list of divisors"),
    "two means": (lambda m: m["preprocess"].update(mean=[0, 0]), "mean or std has not one value per channel"),
    "an unknown filter": (lambda m: m["preprocess"].update(interpolation="sinc"), "interpolation is a word"),
    "a scale of nothing": (lambda m: m["preprocess"].update(scale=0), "scale is not positive"),
    "labels that are numbers": (put(labels=[1, 2]), "labels is no list of texts"),
}  # fmt: skip


@pytest.mark.parametrize("case", EDITS)
def test_a_manifest_that_is_wrong_is_refused(library: Path, tmp_path: Path, case: str) -> None:
    edit, said = EDITS[case]
    path = engines.engine(tmp_path)
    manifest = exports.manifest_of(path)
    change(path, edit)
    with pytest.raises(BackendError, match=said):
        Loaded(library, path, manifest.inputs, manifest.outputs)


@pytest.mark.parametrize("text", ["", "{", "[]", "nul", '{"format": 1}', '{"a": 1, "a": 2}', "\x00", "[" * 100_000, '"\\ud800"', "1e999"])
def test_a_manifest_that_is_no_json_is_refused(library: Path, tmp_path: Path, text: str) -> None:
    path = engines.engine(tmp_path)
    manifest = exports.manifest_of(path)
    Path(f"{path}.json").write_text(text)
    with pytest.raises(BackendError, match="not JSON|is missing"):
        Loaded(library, path, manifest.inputs, manifest.outputs)


def test_an_engine_or_manifest_that_is_not_there_is_named(library: Path, tmp_path: Path) -> None:
    path = engines.engine(tmp_path)
    manifest = exports.manifest_of(path)
    with pytest.raises(BackendError, match="no engine .*none.onnx"):
        Loaded(library, path.with_name("none.onnx"), manifest.inputs, manifest.outputs)
    Path(f"{path}.json").unlink()
    path.with_name("manifest.json").unlink()
    with pytest.raises(BackendError, match="no manifest .*engine.onnx.json"):
        Loaded(library, path, manifest.inputs, manifest.outputs)


def test_outputs_that_are_not_the_manifests_are_refused(library: Path, engine: Path) -> None:
    """There would be no room for those that the engine has."""
    manifest = exports.manifest_of(engine)
    with pytest.raises(BackendError, match="has other outputs than are asked for"):
        Loaded(library, engine, manifest.inputs, ())


def test_a_manifest_is_not_read_beyond_its_bound(library: Path, tmp_path: Path) -> None:
    path = engines.engine(tmp_path)
    manifest = exports.manifest_of(path)
    path.with_name("manifest.json").unlink()
    with Path(f"{path}.json").open("r+b") as file:
        file.truncate(1 << 40)  # a sparse file of a terabyte
    with pytest.raises(BackendError, match="no manifest"):
        Loaded(library, path, manifest.inputs, manifest.outputs)


def test_the_version_folder_of_a_triton_repository_opens(library: Path, engine: Path, tmp_path: Path) -> None:
    from se_deploy import package

    package(engine, triton=tmp_path)
    manifest = exports.manifest_of(engine)
    with Loaded(library, tmp_path / "small/1/model.onnx", manifest.inputs, manifest.outputs) as loader:
        assert loader.run(shape(1, 3, 32, 32))["y"].shape == (1, 10)


def test_a_library_that_is_older_than_the_header_is_told(library: Path, engine: Path, tmp_path: Path) -> None:
    """GetApi answers NULL for a version that it does not know."""
    from tests.runtime import compiled

    source = tmp_path / "old.c"
    source.write_text(
        'static const void* api(unsigned v) { return 0; }\nstatic const char* version(void) { return "1.2.3"; }\n'
        "static const struct { const void* (*a)(unsigned); const char* (*v)(void); } base = { api, version };\n"
        "const void* OrtGetApiBase(void) { return &base; }\n"
    )
    compiled.run(["cc", "-shared", "-fPIC", str(source), "-o", str(tmp_path / "old.so")])
    api = ctypes.CDLL(str(library))
    from se_deploy.backends.cpp.loader import _declared, _Options

    error = ctypes.create_string_buffer(1024)
    options = _Options(onnxruntime=str(tmp_path / "old.so").encode())
    assert _declared(api).se_open(str(engine).encode(), ctypes.byref(options), error, 1024) is None
    assert "ONNX Runtime 1.2.3 is older than the header this was compiled with" in error.value.decode()
