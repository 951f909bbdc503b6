import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import se_deploy
from se_deploy import op
from se_deploy.artifacts import BlockWork
from se_deploy.errors import BackendError, ExportError
from se_deploy.graph.find import find
from se_deploy.graph.fuse import fuse
from se_deploy.insight.devices import DEVICES, LAUNCH, device
from se_deploy.insight.predict import predict, saved_us
from se_deploy.stages.steps.costs import predicted
from tests.graph.exported import exported

BLOCK = BlockWork("se", 256, 16, 56 * 56, residual=True, skip=True, epilogue=True, followed=False, read_elsewhere=True)


def test_bytes_of_a_block_are_those_counted_by_hand() -> None:
    """256x56x56 in FP16 at batch 64 (103 MB) does not fit half of the L4's L2: unfused, x is read twice."""
    cost = predict([BLOCK], [], device("sm_89"), "fp16", 64).blocks[0]
    x, weights = 64 * 256 * 56 * 56 * 2, 2 * 256 * 16
    vectors = 2 * 64 * (256 + 16 + 256) * 2
    assert cost.unfused.bytes == 4 * x + weights * 2 + vectors
    assert cost.fused.bytes == 3 * x + weights * 4
    assert cost.road == "persistent"
    assert (cost.unfused.launches, cost.fused.launches) == (4, 1)
    assert cost.unfused.operations == 64 * (4 * 256 * 56 * 56 + 4 * 256 * 16)
    assert cost.unfused.us == pytest.approx(1e6 * (cost.unfused.bytes / 300e9 + 4 * LAUNCH))
    assert cost.fuse


@pytest.mark.parametrize(("target", "precision", "batch"), list(itertools.product(DEVICES, ("fp32", "fp16", "int8"), (1, 8, 64))))
def test_a_fused_block_never_asks_more_of_memory_for_its_maps(target: str, precision: str, batch: int) -> None:
    cost = predict([BLOCK], [], device(target), precision, batch).blocks[0]  # type: ignore[arg-type]
    weights = 2 * 256 * 16
    assert cost.fused.bytes - 4 * weights <= cost.unfused.bytes
    assert cost.fuse is (cost.fused.us <= cost.unfused.us)
    assert saved_us(BLOCK, device(target), precision, batch) > 0  # type: ignore[arg-type]


def test_on_a_cpu_nothing_changes() -> None:
    report = predict([BLOCK], [], device("cpu"), "fp32", 1)
    [cost] = report.blocks
    assert cost.fused == cost.unfused
    assert (cost.road, cost.fuse, report.launches_saved) == (None, True, 0)
    # Pool reads x; Mul, Add and Relu read and write maps: 1 + 2 + 3 + 2.
    assert cost.fused.bytes == 8 * 256 * 56 * 56 * 4 + 2 * 256 * 16 * 4 + 2 * (256 + 16 + 256) * 4


def test_weights_in_fp32_make_a_late_block_lose_and_clusters_make_it_win() -> None:
    late = BlockWork("late", 2048, 128, 49, residual=True, skip=True, epilogue=True, followed=False, read_elsewhere=True)
    small = predict([late], [], device("sm_89"), "fp16", 8).blocks[0]
    assert not small.fuse
    assert "FP32" in small.why
    assert predict([late], [], device("sm_90"), "fp16", 1).blocks[0].fuse


def test_every_device_names_its_source_and_an_unknown_one_is_refused() -> None:
    for one in DEVICES.values():
        assert len(one.source) > 10
        assert one.bandwidth > 1e11
        assert one.peak["int8"] >= one.peak["fp16"] >= one.peak["fp32"]
    with pytest.raises(BackendError, match=r"no device is known for the target 'sm_35'.*sm_90"):
        device("sm_35")


def test_the_report_of_a_network_is_the_same_plain_and_fused() -> None:
    plain = exported("legacy_seresnet50", 224)
    fused = fuse(plain).model
    sizes = {plain.graph.input[0].name: (8, 3, 224, 224)}
    one, other = (predicted(model, find(model), sizes, "sm_90", "fp16", 8) for model in (plain, fused))
    assert one == other
    assert len(one.blocks) == 16
    assert one.launches_saved == sum(b.unfused.launches - b.fused.launches for b in one.blocks)
    for block in one.blocks:
        assert block.share_unfused == pytest.approx(100 * block.unfused.us / (one.network_us + one.unfused_us))
    macs = 2 * 8 * 3_858_000_000 / DEVICES["sm_90"].peak["fp16"]
    assert one.network_us > 1e6 * macs, "no network is faster than its peak allows"


def followed() -> ModelProto:
    """Two blocks: a Tanh stands behind the first, which the node does not take along; the Relu behind the second it does."""
    rng = np.random.default_rng(0)
    c, r = 64, 4
    values = {f"{block}.{key}": rng.standard_normal(shape).astype(np.float32) * 0.3 for block in ("a", "b")
              for key, shape in (("w1", (r, c, 1, 1)), ("w2", (c, r, 1, 1)), ("k", (c, c, 1, 1)))}  # fmt: skip
    values["half"] = np.full((1, c, 1, 1), 0.5, np.float32)
    nodes = []
    x = "x"
    for block, behind in (("a", "Tanh"), ("b", "Relu")):
        steps = [("Conv", [x, f"{block}.k"], "m"), ("GlobalAveragePool", ["m"], "p"), ("Conv", ["p", f"{block}.w1"], "h"),
                 ("Relu", ["h"], "i"), ("Conv", ["i", f"{block}.w2"], "l"),
                 ("Sigmoid", ["l"], "g"), ("Mul", ["m", "g"], "s"), (behind, ["s"], "y")]  # fmt: skip
        names = {out: f"{block}.{out}" for _, _, out in steps}
        for kind, inputs, out in steps:
            nodes.append(helper.make_node(kind, [names.get(i, i) for i in inputs], [names[out]], f"{block}/{out}"))
        x = names["y"]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", c, 56, 56])]
    outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", c, 56, 56])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in values.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_fuse_auto_leaves_alone_a_block_behind_which_a_kernel_would_have_to_follow() -> None:
    model = followed()
    sizes = {"x": (8, 64, 56, 56)}
    cost = predicted(model, find(model), sizes, "sm_80", "fp16", 8)
    assert [block.fuse for block in cost.blocks] == [False, True]
    assert "kernel of its own" in cost.blocks[0].why


def test_export_fuses_what_is_worth_it(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(exported("legacy_seresnet50", 64), path)
    made = se_deploy.export(path, output=tmp_path / "auto", fuse="auto", target="sm_75")
    cost = se_deploy.inspect(tmp_path / "auto" / "plain.onnx", target="sm_75", batch=1).cost
    assert cost is not None
    losing = [block.name for block in cost.blocks if not block.fuse]
    assert 0 < len(losing) < 16
    graph = onnx.load(tmp_path / "auto" / "model.onnx").graph
    assert made.se_blocks == 16 - len(losing) == sum(op.variant_of(node) is not None for node in graph.node)
    said = [note for note in made.notes if "is left unfused" in note]
    assert len(said) == len(losing)
    assert all(any(note.startswith(f"{name} ") for note in said) for name in losing)
    assert all("sm_75" in note and "bytes more" in note for note in said)
    with pytest.raises(ExportError, match="--fuse auto"):
        se_deploy.export(path, output=tmp_path / "other", target="sm_75")
