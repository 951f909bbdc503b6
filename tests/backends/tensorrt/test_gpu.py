"""On a GPU, by TensorRT and TensorRT-RTX, whichever is there: engines built, deserialised, run, and compared with PyTorch.

    pytest -m gpu

Not run on any GPU yet by the authors.
"""

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from se_deploy import artifacts, backends, op
from se_deploy.artifacts import ModelManifest, Preprocess, Scales
from se_deploy.backends.tensorrt import TensorRT
from se_deploy.backends.tensorrt.runner import Session
from se_deploy.errors import BackendError
from se_deploy.graph.fuse import fuse
from se_deploy.graph.half import to_half
from se_deploy.networks.exporting import to_onnx
from se_deploy.quant import ranges, sites
from se_deploy.quant import scales as measured
from se_deploy.quant.calibrate import observe
from se_deploy.stages.bench import bench
from se_deploy.stages.build import build
from se_deploy.stages.steps.strong_int8 import strongly_typed_int8
from tests.backends.tensorrt import many, networks
from tests.backends.tensorrt.bound import BOUND, bound
from tests.graph.exported import images, run, shaken
from tests.plugins import layouts
from tests.plugins.cases import check
from tests.quant.running import sqnr
from tests.stages import exports
from tests.verify import built

pytestmark = pytest.mark.gpu

#: name -> timm's
NETWORKS = {
    "demo": "seresnet18",
    "seresnet50": "seresnet50",
    "efficientnet_b0": "efficientnet_b0",
    "mobilenetv3_small_100": "mobilenetv3_small_100",
    "legacy_senet154": "legacy_senet154",
}
BATCHES = (1, 8, 32)


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def backend(request: pytest.FixtureRequest) -> TensorRT:
    found = backends.get(request.param)
    unable = found.missing() or found.unable_to_run()
    if unable is not None:
        pytest.skip(unable)
    return found


@cache
def settled(name: str) -> torch.nn.Module:
    """The network with gates that differ, its BatchNorms settled on images: as a trained one, it does not blow up what rounding does."""
    module = shaken(NETWORKS[name], **({"num_classes": 10} if name == "demo" else {}))
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # the mean over all batches
            part.train()
    with torch.no_grad():
        for seed in (20, 21):
            module(torch.from_numpy(images(8, networks.NETWORKS[name][1], seed)))
    return module.eval()


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = networks.NETWORKS[request.param][1]
    plain = to_onnx(settled(request.param), torch.randn(2, 3, size, size), "torchscript", dynamic={0: "batch"})
    how = Preprocess(resize=size, crop=size)
    return exports.directory(tmp_path_factory.mktemp("engines"), fuse(plain).model, name=request.param, how=how, size=size)


def answered(name: str, x: np.ndarray) -> np.ndarray:
    """PyTorch's answers."""
    with torch.inference_mode():
        return settled(name)(torch.from_numpy(x)).numpy()


def scales_of(model: Path, x: np.ndarray) -> Path:
    """Scales measured on images of the kind that the engines are tried on."""
    graph, manifest = onnx.load(model / "model.onnx"), artifacts.read(ModelManifest, model / "manifest.json")
    tensors = list(sites.find(graph, outputs=True, blocks=True).tensors)
    seen = observe(model / "model.onnx", tensors, ({manifest.inputs[0].name: one[None]} for one in x))
    table = Scales(
        graph=manifest.model.sha256,
        preprocess=manifest.preprocess,
        images=len(x),
        images_sha256="0" * 64,
        method="minmax",
        tensors={name: ranges.choose(name, seen[name])[0] for name in tensors},
    )
    artifacts.write(table, model / "scales.json")
    return model / "scales.json"


def yardstick(model: Path, precision: str, scales: Path, x: np.ndarray, want: np.ndarray) -> float:
    """How near ONNX Runtime comes to PyTorch with the same typed file, in dB; an engine may lose 3 of them."""
    typed = onnx.load(model / "model.onnx")
    if precision == "fp16":
        typed = to_half(typed)
    elif precision == "int8":
        typed = strongly_typed_int8(typed, measured.read(scales).tensors, [], integer_blocks=True)
    return min(60.0, sqnr(want, run(typed, x))) - 3


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_engines_answer_as_pytorch_does(precision: str, backend: TensorRT, exported: Path) -> None:
    scales = scales_of(exported, images(16, networks.NETWORKS[exported.name][1], seed=9))
    options = {"scales": scales} if precision == "int8" else {}
    result = build(exported, **{precision: True}, backend=backend.name, force=True, **options)
    assert result.plugin_layers == result.se_blocks == networks.NETWORKS[exported.name][2]
    x = images(max(BATCHES), networks.NETWORKS[exported.name][1])
    want = answered(exported.name, x)
    least = yardstick(exported, precision, scales, x[:8], want[:8])
    for graph in (False, True):
        with Session(result.output, backend.flavour, graph=graph) as session:
            name, output = session.inputs[0].name, session.outputs[0].name
            for batch in BATCHES:
                for _ in range(2):  # the second replays what the first captured
                    got = session.run({name: x[:batch]})[output]
                    assert batch == 1 or sqnr(want[:batch], got) > least, f"batch {batch}, graph {graph}"
                    np.testing.assert_allclose(got[0], session.run({name: x[:1]})[output][0], atol=0.05 * np.ptp(want))


def test_two_contexts_on_two_streams_do_not_mix(backend: TensorRT, tmp_path: Path) -> None:
    model = networks.directory("demo", tmp_path)
    engine = build(model, fp16=True, backend=backend.name).output
    x, y = images(8, 32, seed=1), images(8, 32, seed=2)
    with Session(engine, backend.flavour) as first, Session(engine, backend.flavour) as second:
        name, output = first.inputs[0].name, first.outputs[0].name
        alone = [first.run({name: batch})[output] for batch in (x, y)]
        for session, batch in ((first, x), (second, y)):
            session.run({name: batch})
        for _ in range(50):
            first.start({name: x})
            second.start({name: y})
        first.wait()
        second.wait()
        np.testing.assert_array_equal(first.run({name: x})[output], alone[0])
        np.testing.assert_array_equal(second.run({name: y})[output], alone[1])


@pytest.mark.parametrize(("dtype", "layout"), BOUND)
@pytest.mark.parametrize("act", op.ACTS)
def test_every_variant_in_every_type_and_format(act: str, dtype: str, layout: str, backend: TensorRT, tmp_path: Path, plugin: Path) -> None:
    chosen = many.cases(dtype, layout, (act,))
    drawn = many.inputs(chosen)
    padding = {"int8": 77, "bfloat16": 0x7FC0}.get(dtype, np.nan)
    values = next(one for one in drawn if "residual" in one)
    feeds = {name: layouts.pack(values[name], layout, padding) for name in ("x", "residual")}
    np.savez(tmp_path / "feeds.npz", **{name: value.reshape(-1) for name, value in feeds.items()})
    done = bound(backend.flavour, chosen, tmp_path, plugin, tmp_path / "feeds.npz", tmp_path / "answers.npz")
    assert done.stdout.splitlines()[-1:] == ["36 True"], done.stdout + done.stderr
    answers = np.load(tmp_path / "answers.npz")
    for number, (case, inputs) in enumerate(zip(chosen, drawn, strict=True)):
        check(case, inputs, answers[f"y{number}"].tobytes())


def test_device_times_are_a_clocks(backend: TensorRT, tmp_path: Path) -> None:
    engine = build(networks.directory("demo", tmp_path), fp16=True, backend=backend.name).output
    for graph in (False, True):
        with Session(engine, backend.flavour, graph=graph) as session:
            times = session.device_times({session.inputs[0].name: images(8, 32)}, 20)
            assert len(times) == 20
            assert all(0 < time < 1000 for time in times)


def test_what_does_not_fit_the_engine_is_said(backend: TensorRT, tmp_path: Path) -> None:
    engine = build(exports.directory(tmp_path), backend=backend.name).output
    with Session(engine, backend.flavour) as session:
        for feeds, said in (
            ({}, "input x is not given"),
            ({"x": np.zeros((33, 3, 32, 32), np.float32)}, r"x is \[33, 3, 32, 32\], the engine takes \[1, 3, 32, 32\] to \[32, "),
            ({"x": np.zeros((1, 3, 32, 32))}, "x is float64, the engine takes float32"),
        ):
            with pytest.raises(BackendError, match=said):
                session.run(feeds)


def test_embedded_plugins_and_refittable_engines_run(backend: TensorRT, tmp_path: Path) -> None:
    model = exports.directory(tmp_path)
    for options in ({"embed_plugin": True}, {"refit": True}):
        engine = build(model, backend=backend.name, output=tmp_path / f"{next(iter(options))}.plan", **options).output
        with Session(engine, backend.flavour) as session:
            assert np.isfinite(session.run({"x": np.zeros((1, 3, 32, 32), np.float32)})["y"]).all()


def test_bench_tells_what_the_device_does(backend: TensorRT, tmp_path: Path) -> None:
    model = built.model(tmp_path / "small")
    engine = build(model, fp16=True, backend=backend.name).output
    report = bench(engine, batch=[1, 8, 32], duration=0.5, warmup=0.2)
    assert report.passed, report.failures
    for one in report.runs:
        assert one.accuracy.agreement.value > 90
        assert 0 < one.device_latency_ms.p50 < one.latency_ms.p50
        assert one.gpu.graph_latency_ms.p50 < 2 * one.device_latency_ms.p50
        assert set(one.gpu.streams) == {1, 2}
