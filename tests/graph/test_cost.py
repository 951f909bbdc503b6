import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser

from se_deploy.graph.cost import BlockCost, Cost, cost
from se_deploy.graph.find import find
from se_deploy.graph.fuse import fuse
from tests.graph.exported import exported, shaken


def counted(model: onnx.ModelProto, sizes: dict[str, tuple[int, ...]] | None = None) -> Cost:
    return cost(model, find(model), sizes)


def parsed(body: str, weights: dict[str, tuple[int, ...]] | None = None) -> onnx.ModelProto:
    """A model from ONNX's text form; `weights` become initializers of ones of the given shapes."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "other" : 1]> {body}')
    model.graph.initializer.extend(numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (weights or {}).items())
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize(
    ("line", "weights", "macs", "params"),
    [
        ("y = Conv<strides = [2, 2]>(x, w, b)", {"w": (5, 6, 3, 3), "b": (5,)}, 5 * 3 * 5 * 6 * 9, 5 * 6 * 9 + 5),
        ("y = Conv<group = 3>(x, w)", {"w": (9, 2, 1, 1)}, 9 * 8 * 12 * 2, 18),
        ("y = ConvTranspose<strides = [2, 2]>(x, w)", {"w": (6, 4, 2, 2)}, 6 * 8 * 12 * 4 * 4, 6 * 4 * 4),
        ("f = Flatten(x) y = Gemm<transB = 1>(f, w, b)", {"w": (7, 576), "b": (7,)}, 7 * 576, 7 * 577),
        ("f = Flatten(x) y = Gemm(f, w)", {"w": (576, 7)}, 7 * 576, 7 * 576),
        ("f = Flatten(x) t = Transpose(f) y = Gemm(w, t)", {"w": (7, 576)}, 7 * 576, 7 * 576),
        ("y = MatMul(x, w)", {"w": (12, 7)}, 6 * 8 * 12 * 7, 12 * 7),
        ("y = MatMul(w, x)", {"w": (7, 8)}, 6 * 7 * 12 * 8, 7 * 8),
        ("t = Transpose<perm = [0, 1, 3, 2]>(x) y = MatMul(x, t)", {}, 0, 0),
        ("a = Conv(x, w) y = Conv(a, w)", {"w": (6, 6, 1, 1)}, 2 * 6 * 96 * 6, 36),
        ("a = Add(x, w) b = Mul(a, s) c = GlobalAveragePool(b) y = Relu(c)", {"w": (6, 1, 1), "s": ()}, 0, 6),
        ("y = BatchNormalization(x, s, b, m, v)", dict.fromkeys("sbmv", (6,)), 0, 12),
        ("y = PRelu(x, w)", {"w": (6, 1, 1)}, 0, 6),
    ],
)
def test_one_operator(line: str, weights: dict[str, tuple[int, ...]], macs: int, params: int) -> None:
    counts = counted(parsed(f"g (float[N, 6, 8, 12] x) => (float y) {{ {line} }}", weights))
    assert counts == Cost(params, macs, (), ())


def test_constants_are_counted_where_they_are_stored() -> None:
    body = """g (float[N, 2, 4, 4] x) => (float[N, 3, 4, 4] y) <float scale = {0.5}> {
        q = Constant<value = int8[3, 2, 1, 1] {1, 2, 3, 4, 5, 6}>()
        w = DequantizeLinear(q, scale)
        flat = Constant<value_floats = [1.5, 2.5, 3.5]>()
        shape = Constant<value_ints = [1, 3, 1, 1]>()
        b = Reshape(flat, shape)
        a = Conv(x, w)
        y = Add(a, b)
    }"""
    assert counted(parsed(body)) == Cost(9, 16 * 6, (), ())


def test_a_fixed_batch_is_divided_out() -> None:
    assert counted(parsed("g (float[4, 6, 8, 12] x) => (float y) { y = Conv(x, w) }", {"w": (5, 6, 1, 1)})).macs == 5 * 96 * 6


def test_sizes_that_the_file_leaves_open() -> None:
    model = parsed("g (float[N, 3, H, W] image) => (float y) { y = Conv(image, w) }", {"w": (1, 3, 1, 1)})
    assert counted(model) == Cost(3, 3 * 224 * 224, (), ("input 'image' has no fixed size: counted at 1x3x224x224",))
    assert counted(model, {"image": (8, 3, 10, 20)}) == Cost(3, 3 * 200, (), ())


def test_what_has_no_size_is_noted() -> None:
    body = "g (float[N, 3, 8, 8] x) => (float y) { a = other.Thing(x) [odd] y = Conv(a, w) }"
    counts = counted(parsed(body, {"w": (1, 3, 1, 1)}))
    assert counts == Cost(3, 0, (), ("not counted, of unknown size: 1 (such as odd)",))


SE = """g (float[N, 4, 6, 5] x) => (float[N, 4, 6, 5] y) {
    p = GlobalAveragePool(x) a = Conv(p, w1, b1) b = Relu(a) c = Conv(b, w2, b2) g = Sigmoid(c) y = Mul(POOLED, g)
}"""
SE_WEIGHTS = {"w1": (2, 4, 1, 1), "b1": (2,), "w2": (4, 2, 1, 1), "b2": (4,)}


def test_one_block() -> None:
    model = parsed(SE.replace("POOLED", "x"), SE_WEIGHTS)
    block = BlockCost(params=22, weights=16, macs=120 + 16 + 120)
    assert counted(model) == Cost(22, 256, (block,), ())
    assert counted(fuse(model).model) == counted(model)


def test_a_near_miss_counts_as_its_convolutions() -> None:
    model = parsed(SE.replace("y = Mul(POOLED", "r = Relu(x) y = Mul(r"), SE_WEIGHTS)
    assert counted(model) == Cost(22, 16, (), ())


def test_se_resnet_50_as_in_the_papers_table_2() -> None:
    """3.858 G in convolutions and FCs outside SE, 0.0055 pooled, 0.0025 in SE's FCs, 0.0055 scaled."""
    model = exported("legacy_seresnet50", 224)
    counts = counted(model)
    assert len(counts.blocks) == 16
    assert sum(block.weights for block in counts.blocks) == 2_514_944
    elements = 3 * 256 * 56**2 + 4 * 512 * 28**2 + 6 * 1024 * 14**2 + 3 * 2048 * 7**2
    assert sum(block.macs for block in counts.blocks) == 2 * elements + 2_514_944 == 13_553_664
    assert (counts.macs, counts.params, counts.notes) == (3_871_526_912, 28_061_464, ())
    assert counts == counted(fuse(model).model)


def test_counts_are_pytorchs_own() -> None:
    """Hooks on PyTorch's layers: the same multiply-adds, and the same parameters but for BatchNorm's scales, which are folded."""
    module = shaken("legacy_seresnet18")
    macs = 0

    def count(layer: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal macs
        macs += output[0].numel() * layer.weight[0].numel()

    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    with torch.no_grad():
        module(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    counts = counted(exported("legacy_seresnet18"))
    in_se = sum(block.macs - block.weights for block in counts.blocks)
    assert counts.macs - in_se == macs
    assert counts.params == sum(p.numel() for p in module.parameters()) - sum(len(n.weight) for n in norms)
