"""`bench` and `bisect` on a trained text detector: one output, a map of shares."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image, ImageDraw, ImageFont

from se_deploy import artifacts
from se_deploy.artifacts import EngineManifest, FileRef
from se_deploy.stages.bench import bench
from se_deploy.stages.bisect import bisect
from se_deploy.stages.build import build
from se_deploy.stages.export import export
from tests.trained import trained

SIZE = 160
NAME = "ch_PP-OCRv4_det_infer.onnx"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The detector's export and an FP16 engine, and pages of text to read."""
    root = tmp_path_factory.mktemp("detector")
    rng = np.random.default_rng(0)
    (root / "pages").mkdir()
    for number in range(3):
        page = Image.new("RGB", (SIZE, SIZE), (250, 250, int(rng.integers(200, 255))))
        for line in range(3):
            text = "".join(rng.choice(list("abcdefgh klmnop"), 10))
            spot = (int(rng.integers(3, 20)), 8 + 50 * line)
            ImageDraw.Draw(page).text(spot, text, fill=(10, 10, 60), font=ImageFont.load_default(size=int(rng.integers(16, 26))))
        page.save(root / "pages" / f"{number}.png")
    folder = root / "engines" / "det"
    # SE blocks stay as they are: what is under test is the map, not the fusion.
    export(trained(NAME), input=f"x=1x3x{SIZE}x{SIZE}", fuse="none", output=folder)
    build(folder, fp16=True, output=folder / "fp16.onnx")
    return folder


def test_a_map_has_errors_and_an_overlap_but_no_classes(model: Path) -> None:
    report = bench(model / "fp16.onnx", data=model.parent.parent / "pages", warmup=0, duration=0.02, threads=1)
    accuracy = report.runs[0].accuracy
    assert (accuracy.images, accuracy.agreement, accuracy.top1, accuracy.paired) == (3, None, None, None)
    (output,) = accuracy.outputs
    assert output.shape == (1, SIZE, SIZE)
    assert output.iou is not None
    assert output.iou > 0.97
    assert output.p99 is not None
    assert output.max is not None
    assert 0 < output.p99 < output.max < 0.5
    assert output.cosine is not None
    assert output.cosine > 0.999
    assert {image.name for image in accuracy.worst} == {"0.png", "1.png", "2.png"}


def test_a_fault_in_a_layer_of_a_detector_is_named_by_its_node(model: Path) -> None:
    proto = onnx.load(model / "fp16.onnx")
    conv = [node for node in proto.graph.node if node.op_type == "Conv"][7]
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    values = numpy_helper.to_array(weights[conv.input[1]])
    weights[conv.input[1]].CopyFrom(numpy_helper.from_array((values * 1.2).astype(values.dtype), conv.input[1]))
    onnx.save(proto, model / "planted.onnx")
    manifest = artifacts.read(EngineManifest, model / "fp16.onnx.json")
    artifacts.write(manifest.model_copy(update={"engine": FileRef.of(model / "planted.onnx")}), model / "planted.onnx.json")
    pages = model.parent.parent / "pages"
    found = bisect(model / "planted.onnx", data=pages, images=1, threads=1, shares=False)
    assert found.kind == "own"
    assert found.first is not None
    assert conv.name in found.first.nodes
    sound = bisect(model / "fp16.onnx", data=pages, images=1, threads=1, shares=False)
    assert sound.kind != "own"
    assert len([place for place in sound.places if place.block is not None]) >= 10
