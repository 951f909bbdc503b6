"""Small graphs as ONNX text, and what must hold after fusing them."""

import re

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
from onnx import numpy_helper

from se_deploy.graph.fuse import FuseResult, fuse
from se_deploy.graph.unfuse import unfuse

C, R = 8, 4
#: What a body may name without declaring it. Upper case: convolutions; a t behind: transposed.
WEIGHTS = {
    "W1": (R, C, 1, 1), "W2": (C, R, 1, 1), "W": (C, C, 1, 1), "w1": (R, C), "w2": (C, R), "w": (C, C), "w1t": (C, R), "w2t": (R, C),
    "b1": (R,), "b2": (C,), "b1c": (1, R, 1, 1), "b2c": (1, C, 1, 1), "slope": (R, 1, 1), "slopes": (R,), "one": (1,),
    "g1": (R,), "m1": (R,), "v1": (R,), "g2": (C,), "m2": (C,), "v2": (C,), "gp": (C,), "bp": (C,), "mp": (C,), "vp": (C,),
    "G1": (R, C // 2, 1, 1), "G2": (C, R // 4, 1, 1), "K": (C, C, 3, 3), "D": (C, 1, 3, 3), "K1": (1, 1, 3), "P": (C, C, 1, 1),
    "W1d": (R, C, 1), "W2d": (C, R, 1), "W3": (R, C, 1, 1, 1), "W4": (C, R, 1, 1, 1), "Wr": (R, R, 1, 1), "Wone": (1, C, 1, 1), "S2": (1, 2, 3, 3), "Wd": (2 * C, R, 1, 1),
}  # fmt: skip

#: The names that most bodies share.
FCS = "h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  g = Sigmoid(v)"


def model(body: str, x: str = "float[N, 8, 5, 7] x", y: str = "float[N, 8, 5, 7] y", opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """A model of a body that reads `x` and makes `y`; weights that it names get random values, variances positive ones."""
    names = set(re.findall(r"\b\w+\b", body))
    declared = ", ".join(f"float{list(shape)} {name}" for name, shape in WEIGHTS.items() if name in names)
    inputs = ", ".join(filter(None, [x, declared]))
    result = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => ({y}) {{ {body} }}')
    rng = np.random.default_rng(seed)
    for value in list(result.graph.input):
        if value.name in WEIGHTS:
            data = rng.standard_normal(WEIGHTS[value.name]).astype(np.float32)
            data = np.abs(data) + np.float32(0.5) if value.name in ("v1", "v2", "vp") else data
            result.graph.initializer.append(numpy_helper.from_array(data, value.name))
            result.graph.input.remove(value)
    for index, node in enumerate(result.graph.node):
        node.name = f"{node.op_type}_{index}"
    return result


def run(graph: onnx.ModelProto, batch: int) -> list[np.ndarray]:
    """ONNX Runtime's answers, its optimiser off, to inputs whose channels have means of their own."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(batch)
    feeds = {}
    for value in session.get_inputs():
        shape = [batch if i == 0 and not isinstance(s, int) else s if isinstance(s, int) else 6 for i, s in enumerate(value.shape)]
        means = rng.standard_normal(shape[:2] + [1] * (len(shape) - 3) + shape[-1:] if len(shape) > 2 else shape)
        kind = np.float16 if value.type == "tensor(float16)" else np.float64 if value.type == "tensor(double)" else np.float32
        feeds[value.name] = (rng.standard_normal(shape) + 1.5 * means).astype(kind)
    return session.run(None, feeds)


def ops(graph: onnx.ModelProto) -> list[str]:
    """The operators in order; ours without what all of them share."""
    return [node.op_type.removeprefix("SqueezeExcite_") for node in graph.graph.node if node.op_type != "Constant"]


def assert_equal(a: onnx.ModelProto, b: onnx.ModelProto, tolerance: float = 1e-5, batches: tuple[int, ...] = (1, 3)) -> None:
    """The same numbers, to a share of each output's range."""
    for batch in batches:
        for first, second in zip(run(a, batch), run(b, batch), strict=True):
            assert first.shape == second.shape
            assert first.dtype == second.dtype
            assert np.ptp(first) > 0
            assert np.abs(first.astype(np.float64) - second).max() <= tolerance * np.ptp(first)


def check(plain: onnx.ModelProto, expected: list[str], tolerance: float = 1e-5, batches: tuple[int, ...] = (1, 3)) -> FuseResult:
    """Fuses, and asserts the operators that are left, equal numbers, a valid file, the way back, and that fusing twice changes nothing."""
    before = plain.SerializeToString()
    onnx.checker.check_model(plain, full_check=True)
    result = fuse(plain)
    assert plain.SerializeToString() == before
    assert ops(result.model) == expected
    onnx.checker.check_model(result.model, full_check=True)
    assert_equal(plain, result.model, tolerance, batches)
    again = fuse(result.model)
    assert again.fused == ()
    assert again.model.SerializeToString(deterministic=True) == result.model.SerializeToString(deterministic=True)
    assert [m.fused for m in again.found.matches] == [True] * len(result.found.matches)
    back = unfuse(result.model)
    onnx.checker.check_model(back, full_check=True)
    assert not back.functions
    assert all(not n.domain for n in back.graph.node)
    assert_equal(plain, back, tolerance, batches)
    return result


def check_left_alone(plain: onnx.ModelProto, ids: list[str]) -> FuseResult:
    """Nothing is fused, and exactly these near misses are named."""
    onnx.checker.check_model(plain, full_check=True)
    result = fuse(plain)
    assert [r.id for r in result.found.rejections] == ids
    assert result.fused == ()
    assert not result.model.functions
    return result
