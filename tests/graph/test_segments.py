"""Two graphs cut at the tensors that both have; the cuts and seams change nothing."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto

from se_deploy.graph.cut import cut, disturbed, error_input, tapped
from se_deploy.graph.seams import with_seams
from se_deploy.graph.segments import blocks_of, common, segments
from se_deploy.graph.unfuse import unfuse
from se_deploy.graph.view import View
from se_deploy.quant.place import place
from tests.quant import small
from tests.quant.test_place import measured


def run(model: ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.fixture(scope="module")
def plain() -> ModelProto:
    return unfuse(small.network())


@pytest.fixture(scope="module")
def quantized() -> ModelProto:
    model = small.network()
    place(model, measured(small.network(), small.images(64), blocks=True), signed=True, integer_blocks=True)
    return model


def test_pieces_put_together_are_the_graph(plain: ModelProto) -> None:
    fused, view = View(small.network()), View(plain)
    found = segments(fused, view, blocks_of(plain))
    images = small.images(3)
    names = [segment.output for segment in found]
    tensors = {**run(tapped(view, names), {"x": images}), "x": images}
    assert len(found) > 8
    assert [segment.block for segment in found if segment.block] == ["se", "se2"]
    assert sum(len(segment.engine.nodes) for segment in found) >= len(fused.nodes)
    for segment in found:
        for graph, part in ((fused, segment.engine), (view, segment.reference)):
            got = run(cut(graph, part, [segment.output]), {name: tensors[name] for name in part.inputs})
            np.testing.assert_allclose(got[segment.output], tensors[segment.output], rtol=1e-4, atol=1e-5)


def test_an_error_put_in_moves_the_outputs_as_it_would_there(plain: ModelProto) -> None:
    view, images = View(plain), small.images(2)
    names = sorted(common(View(small.network()), view))
    model = disturbed(view, names)
    feeds = {"x": images, **{error_input(name): np.zeros((), np.float32) for name in names}}
    still = run(model, feeds)["y"]
    np.testing.assert_allclose(still, run(plain, {"x": images})["y"], rtol=1e-6)
    last = run(model, {**feeds, error_input("y"): np.full((), 0.5, np.float32)})["y"]
    np.testing.assert_allclose(last, still + 0.5, rtol=1e-5)
    moved = run(model, {**feeds, error_input("se"): np.full((), 0.5, np.float32)})["y"]
    assert np.abs(moved - still).max() > 1e-4


def test_integers_between_blocks_get_a_float_seam_and_not_a_bit_changes(plain: ModelProto, quantized: ModelProto) -> None:
    images = small.images(8, seed=5)
    before = run(quantized, {"x": images})["y"]
    view = View(plain)
    assert "se" not in common(View(quantized), view)
    seamed = ModelProto()
    seamed.CopyFrom(quantized)
    with_seams(seamed, view.producer.keys())
    onnx.checker.check_model(seamed, full_check=True)
    np.testing.assert_array_equal(run(seamed, {"x": images})["y"], before)
    found = segments(View(seamed), view, blocks_of(plain))
    assert {"se", "se2"} <= {segment.output for segment in found}
    (block,) = [segment for segment in found if segment.output == "se"]
    assert block.block == "se"
    assert len([node for node in block.engine.nodes if node.op.startswith("se_deploy::")]) == 1
    again = ModelProto()
    again.CopyFrom(seamed)
    with_seams(again, view.producer.keys())
    assert again == seamed
