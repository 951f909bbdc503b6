"""SE's cost on a CPU before and after folding, in one run, on every CPU backend that works here: `python -m benchmarks.fold [--quick]`.

Networks: seresnet50 at 224x224 with random weights (gates of about 0.5; timm's resnet50 is the same without SE), the demo's SE-ResNet-18 on
handwritten digits, and an SE-ResNet on Fashion-MNIST (benchmarks/fashion.py; trained ones are kept in the user's cache). The trained ones
are folded on training images with --max-drop 0.5 and judged on the test images. "Without SE" is for them the network whose gates are all 1.

The SE tax is the median latency, batch 1, over that of the network without SE, measured in turns. Aim: at most +2 % after folding (the
paper's own figure is +1.8 %: 167 over 164 ms) within 0.5 points of top-1. What falls short is marked.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

import se_deploy
from benchmarks import fashion
from se_deploy import backends
from se_deploy.errors import BackendError
from se_deploy.graph.find import find
from se_deploy.graph.fold import fold
from se_deploy.graph.read import read, write
from se_deploy.images import find_images
from se_deploy.networks import demo
from se_deploy.stages.demo import draw_digits
from se_deploy.stages.steps import exported, gates, pictures
from se_deploy.verify.intervals import ratio
from se_deploy.verify.latency import busy, interleaved, warmed

AIM_TAX, AIM_DROP = 2.0, 0.5
QUICK = fashion.Recipe(layers=(1, 1, 1), images=8000, epochs=2)


def main() -> None:
    """Prints a row a network and backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small recipe for Fashion-MNIST, and no seresnet50")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds each graph is measured")
    options = parser.parse_args()
    if remark := busy():
        print(f"note: {remark}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for title, graphs, said, short in _networks(root, options.quick):
            print(f"{title}: {said}{'  FALLS SHORT' if short else ''}", flush=True)
            for backend in ("onnxruntime", "openvino"):
                print(f"  {backend:<12} {_taxes(backend, graphs, root, options.duration)}", flush=True)


Row = tuple[str, dict[str, ModelProto], str, bool]


def _networks(root: Path, quick: bool) -> Iterator[Row]:
    """A title, the graphs "with SE", "folded" and "without SE", what folding cost, and whether that is too much."""
    if not quick:
        yield _random(root)
    draw_digits(root / "digits")
    demo.train(find_images(root / "digits" / "train"), root / "digits.pt")
    yield _trained("SE-ResNet-18 on digits", root / "digits.pt", root / "digits" / "train", root / "digits" / "test", root)
    recipe = QUICK if quick else fashion.Recipe()
    train, test = fashion.draw("train", root / "fashion", 4000), fashion.draw("t10k", root / "fashion-test")
    yield _trained("SE-ResNet on Fashion-MNIST", fashion.train(recipe), train, test, root)


def _random(root: Path) -> Row:
    """seresnet50 with its gates folded at what they are on noise, beside resnet50."""
    made = {
        name: exported.find(se_deploy.export(f"timm:{name}", random=True, output=root / name).output) for name in ("seresnet50", "resnet50")
    }
    blocks = gates.blocks_of(made["seresnet50"])
    constants = {match.name: np.full(match.channels, 0.5, np.float32) for match in blocks.matches}
    folded = fold(blocks.model, constants).model
    graphs = {"with SE": blocks.model, "folded": folded, "without SE": read(made["resnet50"].model)}
    return "seresnet50, 224x224, random weights", graphs, f"{len(constants)} blocks folded", False


def _trained(title: str, checkpoint: Path, train: Path, test: Path, root: Path) -> Row:
    source = root / checkpoint.stem
    se_deploy.export(checkpoint, output=source)
    made = se_deploy.fold(source, data=train, output=root / f"{checkpoint.stem}-folded", max_drop=AIM_DROP)
    before, after = (_top1(folder, test) for folder in (source, made.output))
    blocks = gates.blocks_of(exported.find(source))
    ones = {match.name: np.ones(match.channels, np.float32) for match in blocks.matches}
    graphs = {"with SE": blocks.model, "folded": read(made.output / "model.onnx"), "without SE": fold(blocks.model, ones).model}
    count = len(blocks.matches) - len(find(graphs["folded"]).matches)
    said = f"{count} of {len(blocks.matches)} blocks folded, top-1 on the test images {before:.2f} -> {after:.2f} %"
    return title, graphs, said, before - after > AIM_DROP


def _top1(folder: Path, test: Path) -> float:
    """In percent, on the folder's images."""
    source = exported.find(folder)
    tried = pictures.pictures(source, test)
    labels = source.manifest.labels or pictures.classes_of(tried.images)
    places = np.array([labels.index(name) for name in pictures.classes_of(tried.images)])
    hits: list[NDArray[np.bool_]] = []
    with gates.opened(read(source.model)) as runner:
        for chunk, answer in pictures.answers(runner, tried):
            assert chunk.labels is not None
            hits.append(next(iter(answer.values())).argmax(1) == places[chunk.labels])
    return 100 * float(np.concatenate(hits).mean())


def _taxes(name: str, graphs: Mapping[str, ModelProto], root: Path, duration: float) -> str:
    """The SE tax before and after, with intervals; or why there is none."""
    try:
        backend = backends.get(name)
    except BackendError as error:
        return str(error)
    if missing := backend.missing():
        return missing
    with ExitStack() as stack:
        calls = {}
        for number, (key, model) in enumerate(graphs.items()):
            write(model, root / f"{number}.onnx")
            backend.build(root / f"{number}.onnx", root / f"{number}.engine.onnx", lambda *_: None)
            runner = stack.enter_context(backend.open(root / f"{number}.engine.onnx"))
            calls[key] = partial(runner.run, {port.name: _image(port.shape) for port in runner.inputs})
        blocks = interleaved(calls, warmed(calls, 0.5), duration=duration)
    # The median of a block: on a busy machine a mean says how often something else was running.
    typical = {key: [median(block) for block in measured] for key, measured in blocks.items()}
    taxes = {key: ratio(typical[key], typical["without SE"]) for key in ("with SE", "folded")}
    told = ", ".join(
        f"{key} {100 * (r.value - 1):+.1f} % [{100 * (r.low - 1):+.1f}, {100 * (r.high - 1):+.1f}]" for key, r in taxes.items()
    )
    return told + ("  FALLS SHORT" if 100 * (taxes["folded"].value - 1) > AIM_TAX else "")


def _image(shape: tuple[int | str, ...]) -> NDArray[np.float32]:
    sizes = [size if isinstance(size, int) else 1 for size in shape]
    return np.random.default_rng(0).standard_normal(sizes).astype(np.float32)


if __name__ == "__main__":
    main()
