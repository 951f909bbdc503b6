"""Whatever goes wrong in a build is one clear line, with nothing left behind: no file, no process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import psutil
import pytest

from se_deploy.errors import BackendError, CheckFailed, SeDeployError
from se_deploy.stages.build import build
from tests.backends.tensorrt import libraries
from tests.quant import small
from tests.stages import exports

RTX = {"backend": "tensorrt-rtx", "target": ["sm_89"]}


def children(pid: int | None = None) -> list[psutil.Process]:
    """Processes that a build started and that are not gone."""
    found = psutil.Process(pid).children(recursive=True)
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def refused(model: Path, error: type[SeDeployError], **options: object) -> str:
    """The one line that a build is refused with; nothing is left behind."""
    before = sorted(os.listdir(model))
    with pytest.raises(error) as caught:
        build(model, **{**RTX, **options})
    assert sorted(os.listdir(model)) == before
    assert children() == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The plugin


def test_a_missing_plugin_is_told_before_the_work(model: Path) -> None:
    steps: list[str] = []
    said = refused(model, BackendError, plugin="nowhere.so", progress=lambda what, *_: steps.append(what))
    assert steps == []
    assert said == "no plugin library nowhere.so; run `se-deploy plugin build`, or correct --plugin"


def test_an_older_plugin(model: Path, tmp_path: Path) -> None:
    path = libraries.compiled(libraries.says({**libraries.GOOD, "version": "0"}), tmp_path / "old.so")
    assert refused(model, BackendError, plugin=path).startswith(f"the plugin library {path} is of version 0, the model needs 1; run ")
    fewer = {**libraries.GOOD, "creators": [small.SECOND.name]}
    path = libraries.compiled(libraries.says(fewer), tmp_path / "fewer.so")
    said = refused(model, BackendError, plugin=path)
    assert said == f"the plugin library {path} has no creator for {small.FIRST.name}; it is older: run `se-deploy plugin build`"


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_an_unreadable_plugin(size: int, model: Path, tmp_path: Path, plugin: Path) -> None:
    path = tmp_path / "cut.so"
    path.write_bytes(plugin.read_bytes()[:size])
    said = refused(model, BackendError, plugin=path)
    broken = f"{path} is no plugin library of se-deploy: ", f"the plugin library {path} kills the process that loads it (SIGBUS)"
    assert said.startswith(broken)


def test_a_wrong_plugin(model: Path, tmp_path: Path) -> None:
    path = libraries.compiled(libraries.EMPTY, tmp_path / "other.so")
    said = refused(model, BackendError, plugin=path)
    assert said.startswith(f"{path} is no plugin library of se-deploy: undefined symbol: seDeployPlugin; run ")
    path = libraries.compiled('const char* seDeployPlugin(void) { return "hello"; }', tmp_path / "hello.so")
    assert "it says 'hello'" in refused(model, BackendError, plugin=path)


def test_a_plugin_that_kills_whoever_loads_it(model: Path, tmp_path: Path) -> None:
    code = "void abort(void); __attribute__((constructor)) static void die(void) { abort(); }"
    path = libraries.compiled(code, tmp_path / "deadly.so")
    said = refused(model, BackendError, plugin=path)
    assert said == f"the plugin library {path} kills the process that loads it (SIGABRT); run `se-deploy plugin build`"


def test_a_plugin_that_kills_tensorrt(model: Path, tmp_path: Path) -> None:
    code = "void abort(void); void** getCreators(int* n) { abort(); } void setLoggerFinder(void* f) {}"
    path = libraries.compiled(libraries.says(libraries.GOOD) + code, tmp_path / "late.so")
    said = refused(model, BackendError, plugin=path)
    assert said.startswith("TensorRT-RTX was killed (SIGABRT) while it was to load the plugin")
    assert said.endswith("; run `se-deploy plugin build`, or add --plugin off")


@pytest.mark.parametrize("code", ["", libraries.EMPTY])
def test_a_plugin_without_creators(code: str, model: Path, tmp_path: Path) -> None:
    path = libraries.compiled(libraries.says(libraries.GOOD) + code, tmp_path / "empty.so")
    said = refused(model, BackendError, plugin=path)
    assert "empty.so" in said
    assert "run `se-deploy plugin build`" in said


def test_a_node_that_lost_its_plugin_is_named_and_3(tmp_path: Path, plugin: Path) -> None:
    """A parser that finds no creator of a node's version takes the function's body, silently."""
    network = small.network()
    node = next(n for n in network.graph.node if n.name == "se2")
    next(a for a in node.attribute if a.name == "plugin_version").s = b"2"
    model = exports.directory(tmp_path, network)
    said = refused(model, CheckFailed)
    assert said == f"TensorRT-RTX took the plugin for 1 of 2 SE blocks of {model}/model.onnx; not for se2; --plugin off builds without it"


# The model


def test_a_model_that_the_parser_refuses_names_the_node(tmp_path: Path, plugin: Path) -> None:
    network = small.network()
    network.graph.node.insert(0, onnx.helper.make_node("Unknown", ["x"], ["z"], "head/unknown", domain="mine"))
    network.graph.node[1].input[0] = "z"
    network.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    model = exports.directory(tmp_path, network)
    said = refused(model, BackendError)
    assert said.startswith(f'TensorRT-RTX cannot parse {model}/model.onnx at node head/unknown (Unknown): creator && "Plugin not found, ')


def test_an_se_block_that_the_plugin_refuses_is_named(tmp_path: Path, plugin: Path) -> None:
    network = small.network()
    node = next(n for n in network.graph.node if n.name == "se2")
    next(a for a in node.attribute if a.name == "alpha").f = float("inf")
    model = exports.directory(tmp_path, network)
    said = refused(model, BackendError)
    assert said.startswith(f"TensorRT-RTX cannot parse {model}/model.onnx at the SE block se2: ")
    assert "the attribute alpha is not finite" in said


def test_a_slope_of_another_size_is_told_by_the_plugin(tmp_path: Path, plugin: Path) -> None:
    network = small.network()
    small.replace(network, "se.b1", small.weight(network, "se.b1")[:3])
    model = exports.directory(tmp_path, network)
    said = refused(model, BackendError)
    assert said.startswith(f"TensorRT-RTX cannot build {model}/model.onnx: ")
    assert "w1 is (4, 16), b1 (3)" in said


# The process


def test_a_killed_build_is_said(model: Path, plugin: Path) -> None:
    def kill(what: str, _done: int, _total: int | None) -> None:
        if what.startswith("parse"):
            for process in children():
                process.kill()

    said = refused(model, BackendError, progress=kill)
    assert said.startswith("TensorRT-RTX was killed (SIGKILL) while it was to ")


def command(model: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "se_deploy", "build", str(model), "--backend", "tensorrt-rtx", "--target", "sm_89", *words]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_build_and_leaves_nothing(number: signal.Signals, model: Path, plugin: Path) -> None:
    before = sorted(os.listdir(model))
    with subprocess.Popen(command(model), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        child = _wait_for_phase(process, "load the plugin")
        process.send_signal(number)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""
    assert sorted(os.listdir(model)) == before
    assert _gone(child)


def test_a_killed_parent_leaves_no_orphan(model: Path, plugin: Path) -> None:
    with subprocess.Popen(command(model), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        child = _wait_for_phase(process, "load the plugin")
        process.kill()
        process.wait(20)
    assert _gone(child)
    assert not (model / "engine.plan").exists()


def _wait_for_phase(process: subprocess.Popen[str], phase: str) -> psutil.Process:
    """Reads until the build says that it is there; the process that builds."""
    for line in process.stderr:
        if line.startswith(phase):
            (child,) = children(process.pid)
            return child
    raise AssertionError("the build ended before")


def _gone(process: psutil.Process) -> bool:
    _, alive = psutil.wait_procs([process], timeout=20)
    return not alive


def test_a_full_disk_keeps_the_old_engine(model: Path, plugin: Path) -> None:
    build(model, **RTX)
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    code = (
        "import resource, signal, sys\nfrom se_deploy.stages.build import build\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "build(sys.argv[1], backend='tensorrt-rtx', target=['sm_120'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=False)
    assert "ArtifactError: cannot write" in done.stderr
    assert "File too large; free some space" in done.stderr
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_a_bug_in_the_process_keeps_its_traceback(model: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("se_deploy.backends.tensorrt.job.Job.write", lambda self, path: path.write_text("{}"))
    with pytest.raises(RuntimeError, match=r"the process that builds failed to start:\n[\s\S]*KeyError"):
        build(model, **RTX)


# What is refused before the work


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"target": []},
            "no GPU is here, so the engine's is to be named; add --target, one or more of sm_75, sm_80, sm_86, sm_89, sm_",
        ),
        ({"target": ["sm_90"]}, "TensorRT-RTX has no code for sm_90; it has for sm_75, "),
        ({"refit": True}, "--refit: without a GPU TensorRT-RTX cannot make refittable engines; build on a machine with a GPU"),
        (
            {"version_compatible": True},
            "--version-compatible: without a GPU TensorRT-RTX cannot make version-compatible engines (",
        ),
        ({"hardware_compatible": True}, "--hardware-compatible: without a GPU TensorRT-RTX cannot make hardware-compatible engines; "),
        ({"embed_plugin": True, "plugin": "off"}, "--embed-plugin and --plugin off exclude each other; leave one out"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(options: dict, said: str, model: Path) -> None:
    steps: list[str] = []
    line = refused(model, BackendError, **options, progress=lambda what, *_: steps.append(what))
    assert line.startswith(said)
    assert steps == []


def test_tensorrt_without_a_gpu_names_what_builds_here(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("se_deploy.backends.tensorrt.flavours.Flavour.version", lambda self: "11.4.0")
    said = refused(model, BackendError, backend="tensorrt", target=[])
    assert said == (
        "the tensorrt backend does not work here; no NVIDIA GPU is here, and TensorRT builds for the one it sees; "
        "tensorrt-rtx builds without"
    )


@pytest.mark.parametrize("option", ["refit", "embed_plugin", "version_compatible", "hardware_compatible"])
def test_onnx_runtime_refuses_what_is_tensorrts(option: str, model: Path) -> None:
    with pytest.raises(BackendError, match=f"--{option.replace('_', '-')} is for TensorRT, this engine is for ONNX Runtime"):
        build(model, backend="onnxruntime", **{option: True})
