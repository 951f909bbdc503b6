"""One plugin library in TensorRT 10, TensorRT 11 and (test_plugin.py) RTX: small libraries with the virtual tables of .so.10 and .so.11."""

import subprocess
import sys
from pathlib import Path

import pytest

from se_deploy.backends.plugin import toolchain

SOURCE = Path(__file__).with_name("mock_tensorrt.cpp")

PRELUDE = """
import ctypes, sys
mock_path, plugin_path = sys.argv[1:]
def mocked(flags=0):
    mock = ctypes.CDLL(mock_path)
    for name in ("registeredNamespace", "message", "slotsCalledWrongly", "fieldsKept", "formatsOffered"):
        getattr(mock, name).restype = ctypes.c_char_p
    mock.fieldsKept.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_float, ctypes.c_int]
    return mock
NAME = b"SqueezeExcite_relu_hardsigmoid_skip_none_then_none"
"""
MISSING = "b'1 se_deploy: node (SqueezeExcite_relu_hardsigmoid_skip_none_then_none): the attribute alpha is missing'"


@pytest.fixture(scope="session", params=[10, 11])
def mock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mock") / f"libnvinfer.so.{request.param}"
    found = toolchain.find()
    words = [found.nvcc, "-std=c++17", "-shared", "-cudart=none", "-Xcompiler=-fPIC,-w", f"-DMAJOR={request.param}", f"-I{found.headers}"]
    subprocess.run([*words, str(SOURCE), "-o", str(path)], check=True)
    return path


def run(code: str, mock: Path, plugin: Path) -> str:
    done = subprocess.run([sys.executable, "-c", PRELUDE + code, str(mock), str(plugin)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_process_that_opens_the_library_gets_its_creators_registered(mock: Path, plugin: Path) -> None:
    code = """
mock = mocked()
plugin = ctypes.CDLL(plugin_path)
print(mock.registeredCount(), mock.registeredNamespace(), mock.slotsCalledWrongly())
print(mock.makeWithoutFields(NAME), mock.message(), mock.slotsCalledWrongly())
"""
    assert run(code, mock, plugin) == f"648 b'se_deploy' b''\n0 {MISSING} b''\n"


def test_a_library_that_tensorrt_opens_leaves_the_registering_to_it(mock: Path, plugin: Path) -> None:
    code = """
mock = mocked()
print(mock.loadLibrary(plugin_path.encode()), mock.registeredCount(), mock.slotsCalledWrongly())
print(mock.makeWithoutFields(NAME), mock.message(), mock.slotsCalledWrongly())
"""
    assert run(code, mock, plugin) == f"0 648 b''\n0 {MISSING} b''\n"


def test_a_library_that_comes_before_tensorrt_calls_nothing(mock: Path, plugin: Path) -> None:
    code = """
plugin = ctypes.CDLL(plugin_path)
mock = mocked()
print(mock.registeredCount(), mock.slotsCalledWrongly())
"""
    assert run(code, mock, plugin) == "0 b''\n"


def test_fields_survive_engines(mock: Path, plugin: Path) -> None:
    code = """
mock = mocked()
mock.loadLibrary(plugin_path.encode())
for rounds in range(3):
    print(mock.fieldsKept(NAME, 0.25, 0.5, rounds))
"""
    assert run(code, mock, plugin) == "b'format=1 alpha=0.250000 beta=0.500000 '\n" * 3


FORMATS = """
mock = mocked()
mock.loadLibrary(plugin_path.encode())
for name in (b"SqueezeExcite_relu_sigmoid_skip_none_then_none", b"SqueezeExcite_relu_sigmoid_skip_none_then_none_int8"):
    print(*(mock.formatsOffered(name, rank) for rank in (4, 3, 5)))
"""
#: TensorRT's numbers: types 0 float, 1 half, 2 int8, 7 bfloat16; formats 0 kLINEAR, 2 kHWC8, 5 kCHW32, 11 kHWC16.
OFFERED = "b'0/0 0/2 1/0 1/2 7/0 7/2 ' b'0/0 1/0 7/0 ' b'0/0 1/0 7/0 '\nb'2/0 2/5 2/11 ' b'2/0 ' b'2/0 '\n"


def test_formats_are_offered_as_the_kernels_have_them(mock: Path, plugin: Path) -> None:
    assert run(FORMATS, mock, plugin) == OFFERED
