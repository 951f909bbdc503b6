"""What compiles the plugin is found where the README says, and what is too old or missing is told with the remedy."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from se_deploy.artifacts import silent
from se_deploy.backends.plugin import compiling, library, sources, toolchain
from se_deploy.errors import BackendError

SYSTEM = "/usr/bin:/bin"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No nvcc on PATH, no CUDA_HOME, no TENSORRT_ROOT: what is left are the wheels."""
    for name in ("CUDA_HOME", "CUDA_PATH", "TENSORRT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", SYSTEM)
    return monkeypatch


def test_the_wheels_of_the_extra_are_enough(bare: pytest.MonkeyPatch) -> None:
    found = toolchain.find()
    assert found.nvcc.parts[-4:] == ("nvidia", "cu13", "bin", "nvcc")
    assert found.lib is not None
    assert (found.lib / "libcudart_static.a").is_file()
    assert found.headers.parts[-3:] == ("kernel_lens", "include", "tensorrt")
    assert (found.cuda, found.tensorrt, found.driver) == ((13, 0), "10.14", 580)
    assert "the library needs a driver >= 580" in found.said()


def test_the_wheels_compile_a_library_that_loads(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setattr(sources, "ARCHITECTURES", ("89",))
    made = compiling.compiled(toolchain.find(), silent, out=tmp_path / "l.so")
    assert library.described(made).architectures == ("sm_89", "compute_90")


def test_cuda_home_comes_before_the_wheels_and_path_before_it(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("home", "path"):
        script(tmp_path / name / "bin" / "nvcc", 'echo "release 12.9, V12.9.1"')
    bare.setenv("CUDA_HOME", str(tmp_path / "home"))
    assert toolchain.find().nvcc == tmp_path / "home" / "bin" / "nvcc"
    assert toolchain.find().driver == 525
    bare.setenv("PATH", f"{tmp_path / 'path' / 'bin'}:{SYSTEM}")
    assert toolchain.find().nvcc == tmp_path / "path" / "bin" / "nvcc"


def script(path: Path, line: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def test_headers_of_tensorrt_root_come_before_the_wheel_and_an_option_before_both(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = toolchain.find().headers
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "include").symlink_to(real)
    (tmp_path / "mine").symlink_to(real)
    bare.setenv("TENSORRT_ROOT", str(tmp_path / "root"))
    assert toolchain.find().headers == tmp_path / "root" / "include"
    assert toolchain.find(tmp_path / "mine").headers == tmp_path / "mine"


def test_no_compiler_names_the_remedy(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(toolchain, "_compilers", lambda: iter(()))
    with pytest.raises(BackendError, match=r"no nvcc: neither on PATH, .* nor as a wheel; `pip install 'se-deploy\[plugin\]'`"):
        toolchain.find()


def test_no_headers_name_the_remedy(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(toolchain, "_wheels", lambda *_: iter(()))
    with pytest.raises(BackendError, match=r"no TensorRT headers: .*; `pip install 'se-deploy\[plugin\]'`"):
        toolchain.find()


def test_no_host_compiler_is_said(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="nvcc needs g"):
        toolchain.find()


def test_an_old_nvcc_is_refused(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "nvcc", 'echo "release 11.8, V11.8.89"')
    bare.setenv("PATH", f"{tmp_path / 'bin'}:{SYSTEM}")
    with pytest.raises(BackendError, match=r"nvcc is CUDA 11.8, the plugin needs 12.8"):
        toolchain.find()


def test_an_nvcc_that_is_none_is_refused(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "nvcc", "echo hello")
    bare.setenv("PATH", f"{tmp_path / 'bin'}:{SYSTEM}")
    with pytest.raises(BackendError, match="does not say its version"):
        toolchain.find()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#define NV_TENSORRT_MAJOR 8 //!<\n#define NV_TENSORRT_MINOR 6\n", "is of TensorRT 8.6, the plugin needs 10"),
        ("", "does not say which TensorRT it is of"),
    ],
)
def test_wrong_headers_are_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "NvInferRuntime.h").touch()
    (tmp_path / "NvInferVersion.h").write_text(text)
    with pytest.raises(BackendError, match=said):
        toolchain.find(tmp_path)


def test_a_folder_without_headers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"has no NvInferRuntime.h; name the folder"):
        toolchain.find(tmp_path)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugin's sources, to be spoiled."""
    folder = tmp_path / "plugins"
    shutil.copytree(sources.root(), folder)
    monkeypatch.setattr(sources, "root", lambda: folder)
    monkeypatch.setattr(sources, "ARCHITECTURES", ("89",))
    return folder


def test_the_compilers_first_error_is_the_line_and_nothing_is_left(copy: Path, tmp_path: Path) -> None:
    for file in sources.files(copy):
        file.unlink()
    (copy / "tensorrt" / "a.cpp").write_text("int f() { return missing; }\n")
    with pytest.raises(BackendError, match=r"cannot compile the plugin: .*a.cpp:1:18: error: .*missing.* was not declared"):
        compiling.compiled(toolchain.find(), silent, out=tmp_path / "out" / "l.so")
    assert os.listdir(tmp_path / "out") == []


def test_the_library_is_kept_under_the_hash_of_its_sources(copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = sources.cached(copy)
    assert before.parent.parent == tmp_path / "cache" / "se-deploy" / "plugin"
    assert sources.cached(copy) == before
    header = copy / "kernels" / "squeeze_excite.h"
    header.write_text(header.read_text() + "\n")
    assert sources.cached(copy) != before
    header.write_text(header.read_text()[:-1])
    assert sources.cached(copy) == before
    monkeypatch.setattr(sources, "ARCHITECTURES", ("89", "90"))
    assert sources.cached(copy) != before


def test_a_cache_that_cannot_be_written_is_said(copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BackendError, match="the plugin's library cannot be kept: cannot write .*; set XDG_CACHE_HOME to a folder for it"):
        compiling.compiled(toolchain.find(), silent)


def name_of(process: psutil.Process) -> str:
    """A process's name; none where it ended since it was listed, as steps of a compiler do."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_compiler_leaves_no_process_and_no_file(number: signal.Signals, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "se_deploy", "plugin", "build", "-o", str(tmp_path / "out" / "l.so")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        compilers: list[psutil.Process] = []
        while not any(name_of(child) in ("cicc", "cudafe++", "ptxas", "cc1plus") for child in compilers):
            time.sleep(0.02)
            compilers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(20) == 130
    assert psutil.wait_procs(compilers, timeout=20)[1] == []
    assert os.listdir(tmp_path / "out") == []


def test_no_plugin_and_no_compiler_names_both_ways_out(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("XDG_CACHE_HOME", str(tmp_path))
    bare.setattr(toolchain, "_compilers", lambda: iter(()))
    with pytest.raises(BackendError) as caught:
        library.check("auto")
    assert str(caught.value) == (
        "no plugin is built, and none can be: no nvcc: neither on PATH, nor under CUDA_HOME, nor as a wheel; "
        "`pip install 'se-deploy[plugin]'` brings both the compiler and TensorRT's headers, or add --plugin off"
    )
