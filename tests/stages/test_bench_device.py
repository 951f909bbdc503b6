"""`bench` of an engine on a device with a clock of its own: ONNX Runtime stands in for the GPU, what is measured and reported is real."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from se_deploy.backends.onnxruntime import Session
from se_deploy.backends.tensorrt import TensorRT, gpu
from se_deploy.cli.app import app
from se_deploy.errors import BackendError
from se_deploy.stages.bench import bench
from se_deploy.verify import latency
from tests.verify import built


class OnDevice(Session):
    """An ONNX Runtime session that counts what is asked of it as of a device."""

    open: list[str] = []
    batches: list[int] = []

    def __init__(self, engine: Path, graph: bool = False) -> None:
        super().__init__(engine, 1, True)
        self.engine, self.graph = engine, graph
        OnDevice.open.append("graph" if graph else "plain")

    def run(self, feeds: Any) -> Any:
        OnDevice.batches.append(len(next(iter(feeds.values()))))
        return super().run(feeds)

    def device_times(self, feeds: Any, count: int) -> list[float]:
        times = []
        for _ in range(count):
            start = time.perf_counter()
            super().run(feeds)
            times.append(1000 * (time.perf_counter() - start))
        return times

    def start(self, feeds: Any) -> None:
        super().run(feeds)

    def wait(self) -> None:
        pass

    def twin(self, *, graph: bool = False) -> "OnDevice":
        return OnDevice(self.engine, graph)

    def clocks(self) -> dict[str, float]:
        return {"sm_mhz": 1980.0}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An engine that says that it is TensorRT's."""
    model = built.model(tmp_path / "engines" / "small")
    built.engine(model)
    shutil.move(model / "engine.onnx", model / "engine.plan")
    described = json.loads((model / "engine.onnx.json").read_text())
    described["engine"]["file"] = "engine.plan"
    (model / "engine.plan.json").write_text(json.dumps(described | {"backend": "tensorrt"}))
    (model / "engine.onnx.json").unlink()
    monkeypatch.setattr(TensorRT, "missing", lambda self: None)
    monkeypatch.setattr(TensorRT, "unable_to_run", lambda self: None)
    monkeypatch.setattr(TensorRT, "open", lambda self, engine, **_: OnDevice(engine))
    monkeypatch.setattr(latency, "REST", 0.0)
    monkeypatch.setattr(OnDevice, "open", [])
    monkeypatch.setattr(OnDevice, "batches", [])
    before = Path.cwd()
    os.chdir(tmp_path)
    yield model / "engine.plan"
    os.chdir(before)


def quick(plan: Path, **words: Any) -> Any:
    return bench(plan, **{"warmup": 0.0, "duration": 0.02, "threads": 1, **words})


def test_a_run_has_the_devices_times_graphs_streams_and_clocks(plan: Path) -> None:
    report = quick(plan, batch=[1, 8], streams=[1, 3])
    assert report.included.copies
    for run in report.runs:
        assert run.device_latency_ms.n >= 100
        assert run.gpu.graph_latency_ms.n >= 100
        assert list(run.gpu.streams) == [1, 3]
        assert all(speed > 0 for speed in run.gpu.streams.values())
        assert run.gpu.clocks_before == run.gpu.clocks_after == {"sm_mhz": 1980.0}
        assert run.latency_ms.mean != run.device_latency_ms.mean
    assert OnDevice.open == ["plain", *(["graph", "plain", "plain", "plain", "plain"] * 2)]


def test_rows_are_compared_at_min_opt_and_max_batch(plan: Path) -> None:
    quick(plan, batch=[1])
    assert {1, 8, 32} <= set(OnDevice.batches)


def test_device_only_is_the_latency_and_says_what_is_left_out(plan: Path) -> None:
    report = quick(plan, device_only=True)
    (run,) = report.runs
    assert not report.included.copies
    assert run.latency_ms == run.device_latency_ms
    assert run.throughput == pytest.approx(1000 / run.device_latency_ms.mean)


def test_a_batch_outside_of_the_profile_is_refused(plan: Path) -> None:
    with pytest.raises(BackendError) as caught:
        quick(plan, batch=[64])
    assert str(caught.value) == f"{plan} does not run at batch 64: it was built for 1 to 32; build it with --shapes input:1,64,64"


def test_device_only_is_not_for_a_cpu(plan: Path) -> None:
    shutil.copy(plan, plan.with_suffix(".onnx"))
    described = json.loads(plan.with_name("engine.plan.json").read_text()) | {"backend": "onnxruntime"}
    described["engine"]["file"] = "engine.onnx"
    plan.with_name("engine.onnx.json").write_text(json.dumps(described))
    with pytest.raises(BackendError, match=r"engine.onnx runs on the host, which has no other clock; leave --device-only out"):
        quick(plan.with_suffix(".onnx"), device_only=True)


def test_the_command_line_draws_it(plan: Path) -> None:
    words = ["bench", "engine.plan", "--duration", "0.02", "--warmup", "0", "--streams", "2", "--threads", "1"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert "on the device" in done.stdout
    assert "1980 MHz, 1980 MHz" in done.stdout
    assert "copies included" in done.stdout
    report = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert set(report["runs"][0]["gpu"]) == {"graph_latency_ms", "streams", "clocks_before", "clocks_after"}


def test_what_nvidia_smi_says() -> None:
    assert gpu.parsed_clocks("1980, 2619, 2010, 34, 71.52\n") == {
        "sm_mhz": 1980, "memory_mhz": 2619, "sm_max_mhz": 2010, "temperature_c": 34, "power_w": 71.52,
    }  # fmt: skip
    assert gpu.parsed_clocks("[N/A], 2619, [N/A], 34, [Not Supported]") == {"memory_mhz": 2619, "temperature_c": 34}
    assert gpu.parsed_clocks("") == {}
