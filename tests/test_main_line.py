"""export -> inspect -> build --int8 -> bench, as a user types it, on every network the README promises."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from se_deploy.cli.app import app
from tests.networks import sources

pytestmark = pytest.mark.slow


def checkpoint(make: Callable[[], torch.nn.Module], name: str, prepared: str = "imagenet") -> Callable[[Path], str]:
    def save(folder: Path) -> str:
        torch.manual_seed(0)
        torch.save(sources.shaken(make(), prepared=prepared).state_dict(), folder / name)
        return name

    return save


#: name -> (what the user types as SOURCE, made in the working directory where it is a file; SE blocks)
NETWORKS: dict[str, tuple[str | Callable[[Path], str], int]] = {
    "seresnet50": ("timm:seresnet50", 16),
    "legacy_seresnet50": ("timm:legacy_seresnet50", 16),
    "efficientnet_b0": ("timm:efficientnet_b0", 16),
    "mobilenetv3_small_100": ("timm:mobilenetv3_small_100", 9),
    "torchvision efficientnet_b0": (checkpoint(torchvision.models.efficientnet_b0, "efficientnet_b0.pth"), 16),
    "moskomule se_resnet50": (checkpoint(sources.moskomule_se_resnet50, "se_resnet50.pt"), 16),
    "VGGFace2 senet50": (checkpoint(sources.vggface2_senet50, "senet50_ft.pth", "vggface2"), 16),
    "legacy_senet154": ("timm:legacy_senet154", 50),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photograph-like images of odd sizes."""
    folder = tmp_path_factory.mktemp("imgs")
    rng = np.random.default_rng(0)
    for number in range(12):
        size = (int(rng.integers(180, 320)), int(rng.integers(180, 320)))
        noise = Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        noise.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 4)))).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def run(*words: str) -> dict:
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("network", NETWORKS)
def test_main_line(network: str, images: Path, folder: Path) -> None:
    source, blocks = NETWORKS[network]
    words = (source, "--random") if isinstance(source, str) else (source(folder),)
    made = run("export", *words)
    assert made["se_blocks"] == blocks
    report = run("inspect", f"{made['output']}/model.onnx")
    assert report["fused"] == len(report["blocks"]) == blocks
    assert report["rejected"] == []
    built = run("build", "--int8", "--calib", str(images))
    assert (built["precision"], built["backend"], built["images"]) == ("int8", "onnxruntime", 12)
    bench = run("bench", "engine.onnx", "--duration", "0.2", "--warmup", "1")
    assert bench["passed"]
    assert bench["reference"]["kind"] == "pytorch"
    (measured,) = bench["runs"]
    assert measured["precision"] == "int8"
    # Random weights amplify what INT8 rounds away (3.4 to 15 dB on these); unrelated answers give -3 dB, constant ones 0.
    assert measured["accuracy"]["sqnr_db"] > 2
    assert measured["latency_ms"]["p50"] > 0
