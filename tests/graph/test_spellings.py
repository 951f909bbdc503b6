"""One ONNX text per spelling of a block: pools, layers, activations, gates, and what may stand between."""

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from tests.graph.spelled import FCS, check, model

RELU = "relu_sigmoid_skip_none_then_none"
HARD = "relu_hardsigmoid_skip_none_then_none"

POOLS = {
    "global-average-pool": "p = GlobalAveragePool(x)",
    "reduce-mean": "p = ReduceMean <axes = [2, 3], keepdims = 1> (x)",
    "negative-axes": "p = ReduceMean <axes = [-1, -2]> (x)",
    "keepdims-0-and-unsqueeze": "m = ReduceMean <axes = [2, 3], keepdims = 0> (x)  u = Constant <value_ints = [2, 3]> ()  p = Unsqueeze(m, u)",
    "keepdims-0-and-reshape": "m = ReduceMean <axes = [2, 3], keepdims = 0> (x)  s = Constant <value_ints = [0, 8, 1, 1]> ()  p = Reshape(m, s)",
    "full-size-average-pool": "p = AveragePool <kernel_shape = [5, 7]> (x)",
    "mean-of-means": "m = ReduceMean <axes = [3]> (x)  p = ReduceMean <axes = [2]> (m)",
    "mean-of-means-without-dims": "m = ReduceMean <axes = [3], keepdims = 0> (x)  n = ReduceMean <axes = [2], keepdims = 0> (m) "
    "u = Constant <value_ints = [2, 3]> ()  p = Unsqueeze(n, u)",
    "flattened-map": "s = Constant <value_ints = [0, 8, -1]> ()  f = Reshape(x, s)  m = ReduceMean <axes = [2]> (f) "
    "u = Constant <value_ints = [3]> ()  p = Unsqueeze(m, u)",
    "sum-over-count": "e = Constant <value_ints = [2, 3]> ()  m = ReduceSum(x, e)  k = Constant <value_float = 35.0> ()  p = Div(m, k)",
    "sum-times-share": "e = Constant <value_ints = [2, 3]> ()  m = ReduceSum(x, e)  k = Constant <value_float = 0.028571429> ()  p = Mul(m, k)",
    "transposed-first": "t = Transpose <perm = [0, 2, 3, 1]> (x)  m = ReduceMean <axes = [1, 2], keepdims = 0> (t) "
    "s = Constant <value_ints = [-1, 8, 1, 1]> ()  p = Reshape(m, s)",
    "identity-around": "i = Identity(x)  m = GlobalAveragePool(i)  p = Identity(m)",
    "pooled-twice": "m = GlobalAveragePool(x)  p = GlobalAveragePool(m)",
}


@pytest.mark.parametrize("spelling", POOLS)
def test_pool(spelling: str) -> None:
    check(model(f"{POOLS[spelling]} {FCS} y = Mul(x, g)"), [RELU])


OPEN_SUMS = {
    "gathered": "z = Shape(x)  i2 = Constant <value_int = 2> ()  i3 = Constant <value_int = 3> ()  c2 = Gather(z, i2)  c3 = Gather(z, i3)  n = Mul(c2, c3)",
    "sliced-and-multiplied": "z = Shape <start = 2> (x)  n = ReduceProd <keepdims = 0> (z)",
}  # fmt: skip


@pytest.mark.parametrize("spelling", OPEN_SUMS)
def test_sum_over_a_map_of_open_size(spelling: str) -> None:
    body = f"e = Constant <value_ints = [2, 3]> ()  m = ReduceSum(x, e)  {OPEN_SUMS[spelling]}  k = Cast <to = 1> (n)  p = Div(m, k)  {FCS}  y = Mul(x, g)"
    check(model(body, x="float[N, 8, H, W] x", y="float[N, 8, H, W] y"), [RELU])


def test_reduce_mean_with_axes_as_input() -> None:
    check(model(f"e = Constant <value_ints = [2, 3]> ()  p = ReduceMean <keepdims = 1> (x, e)  {FCS}  y = Mul(x, g)", opset=18), [RELU])


GAP = "p = GlobalAveragePool(x)  f = Flatten(p)"
BACK = "u = Constant <value_ints = [2, 3]> ()  g = Unsqueeze(s, u)  y = Mul(x, g)"

LAYERS = {
    "conv-without-bias": "p = GlobalAveragePool(x)  h = Conv(p, W1)  a = Relu(h)  v = Conv(a, W2)  g = Sigmoid(v)  y = Mul(x, g)",
    "conv-and-add": "p = GlobalAveragePool(x)  h = Conv(p, W1)  i = Add(h, b1c)  a = Relu(i)  v = Conv(a, W2)  o = Add(b2c, v)  "
    "g = Sigmoid(o)  y = Mul(x, g)",
    "grouped-conv": "p = GlobalAveragePool(x)  h = Conv <group = 2> (p, G1, b1)  a = Relu(h)  v = Conv <group = 4> (a, G2, b2)  "
    "g = Sigmoid(v)  y = Mul(x, g)",
    "conv-with-strides": "p = GlobalAveragePool(x)  h = Conv <strides = [2, 2], dilations = [1, 1]> (p, W1, b1)  a = Relu(h)  "
    "v = Conv(a, W2, b2)  g = Sigmoid(v)  y = Mul(x, g)",
    "gemm-transB": f"{GAP}  h = Gemm <transB = 1> (f, w1, b1)  a = Relu(h)  v = Gemm <transB = 1> (a, w2, b2)  s = Sigmoid(v)  {BACK}",
    "gemm": f"{GAP}  h = Gemm(f, w1t, b1)  a = Relu(h)  v = Gemm(a, w2t, b2)  s = Sigmoid(v)  {BACK}",
    "gemm-without-bias": f"{GAP}  h = Gemm(f, w1t)  a = Relu(h)  v = Gemm(a, w2t)  s = Sigmoid(v)  {BACK}",
    "gemm-alpha-beta": f"{GAP}  h = Gemm <alpha = 0.5, beta = 2.0> (f, w1t, b1)  a = Relu(h)  v = Gemm <alpha = 3.0, beta = 0.0> (a, w2t, b2)  "
    f"s = Sigmoid(v)  {BACK}",
    "gemm-scalar-bias": f"{GAP}  h = Gemm(f, w1t, one)  a = Relu(h)  v = Gemm(a, w2t, b2)  s = Sigmoid(v)  {BACK}",
    "gemm-transA": f"{GAP}  t = Transpose(f)  h = Gemm <transA = 1> (t, w1t, b1)  a = Relu(h)  v = Gemm(a, w2t, b2)  s = Sigmoid(v)  {BACK}",
    "gemm-weight-first": f"{GAP}  h = Gemm <transB = 1> (w1, f)  a = Relu(h)  v = Gemm <transA = 1> (w2t, a)  t = Transpose(v)  "
    f"s = Sigmoid(t)  {BACK}",
    "matmul-and-add": f"{GAP}  h = MatMul(f, w1t)  i = Add(h, b1)  a = Relu(i)  v = MatMul(a, w2t)  o = Add(v, b2)  s = Sigmoid(o)  {BACK}",
    "matmul-weight-first": "p = ReduceMean <axes = [3]> (x)  q = ReduceMean <axes = [2]> (p)  e = Constant <value_ints = [3]> ()  "
    "f = Squeeze(q, e)  h = MatMul(w1, f)  a = Relu(h)  v = MatMul(w2, a)  s = Sigmoid(v)  g = Unsqueeze(s, e)  y = Mul(x, g)",
    "matmul-of-rank-4": "t = Transpose <perm = [0, 2, 3, 1]> (x)  m = ReduceMean <axes = [1, 2]> (t)  h = MatMul(m, w1t)  i = Add(h, b1)  "
    "a = Relu(i)  v = MatMul(a, w2t)  s = Sigmoid(v)  g = Transpose <perm = [0, 3, 1, 2]> (s)  y = Mul(x, g)",
    "constant-nodes-between": f"{GAP}  i = Identity(w1)  t = Transpose(i)  h = MatMul(f, t)  a = Relu(h)  j = Cast <to = 1> (w2)  "
    f"v = Gemm <transB = 1> (a, j, b2)  s = Sigmoid(v)  {BACK}",
    "batchnorm-behind-both": "p = GlobalAveragePool(x)  h = Conv(p, W1)  n = BatchNormalization(h, g1, b1, m1, v1)  a = Relu(n)  v = Conv(a, W2)  "
    "o = BatchNormalization <epsilon = 0.001> (v, g2, b2, m2, v2)  g = Sigmoid(o)  y = Mul(x, g)",
    "batchnorm-in-front": f"q = GlobalAveragePool(x)  p = BatchNormalization(q, gp, bp, mp, vp)  {FCS}  y = Mul(x, g)",
    "batchnorm-of-a-gemm": f"{GAP}  h = Gemm(f, w1t, b1)  n = BatchNormalization(h, g1, b1, m1, v1)  a = Relu(n)  v = Gemm(a, w2t, b2)  "
    f"s = Sigmoid(v)  {BACK}",
    "temperature": "p = GlobalAveragePool(x)  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  k = Constant <value_float = 0.3> ()  "
    "o = Mul(v, k)  g = Sigmoid(o)  y = Mul(x, g)",
}


@pytest.mark.parametrize("spelling", LAYERS)
def test_layer(spelling: str) -> None:
    check(model(LAYERS[spelling]), [RELU])


ONE = "none_sigmoid_skip_none_then_none"


@pytest.mark.parametrize(
    "body",
    ["v = Conv(p, W, b2)  g = Sigmoid(v)", "h = Conv(p, W1, b1)  v = Conv(h, W2, b2)  g = Sigmoid(v)"],
    ids=["one-layer", "two-layers-nothing-between"],
)
def test_one_fc(body: str) -> None:
    result = check(model(f"p = GlobalAveragePool(x)  {body}  y = Mul(x, g)"), [ONE])
    assert result.found.matches[0].reduced == 8


SHAPES = {
    "unsqueeze-squeeze": ("e = Constant <value_ints = [2, 3]> ()  f = Squeeze(q, e)", "g = Unsqueeze(s, e)"),
    "reshape-minus-one": ("e = Constant <value_ints = [-1, 8]> ()  f = Reshape(q, e)", "r = Constant <value_ints = [-1, 8, 1, 1]> ()  g = Reshape(s, r)"),
    "reshape-zeros": ("e = Constant <value_ints = [0, -1]> ()  f = Reshape(q, e)", "r = Constant <value_ints = [0, -1, 1, 1]> ()  g = Reshape(s, r)"),
    "reshape-zero-zero": ("f = Flatten <axis = 1> (q)", "r = Constant <value_ints = [0, 0, 1, 1]> ()  g = Reshape(s, r)"),
    "flatten-from-the-end": ("f = Flatten <axis = -3> (q)", "r = Constant <value_ints = [0, 8, 1, 1]> ()  g = Reshape(s, r)"),
    "shape-of-the-map": (
        "z = Shape(x)  i0 = Constant <value_int = 0> ()  n = Gather(z, i0)  e0 = Constant <value_ints = [0]> ()  n1 = Unsqueeze(n, e0)  "
        "c1 = Constant <value_ints = [8]> ()  t = Concat <axis = 0> (n1, c1)  f = Reshape(q, t)",
        "o1 = Constant <value_ints = [1, 1]> ()  r = Concat <axis = 0> (n1, c1, o1)  g = Reshape(s, r)",
    ),
    "shape-of-the-vector": ("f = Flatten(q)", "r = Shape(q)  g = Reshape(s, r)"),
    "start-of-the-shape": (
        "f = Flatten(q)",
        "z = Shape <start = 0, end = 2> (x)  o1 = Constant <value_ints = [1, 1]> ()  r = Concat <axis = 0> (z, o1)  g = Reshape(s, r)",
    ),
    "slice-of-the-shape": (
        "f = Flatten(q)",
        "z = Shape(x)  k0 = Constant <value_ints = [0]> ()  k2 = Constant <value_ints = [2]> ()  z2 = Slice(z, k0, k2)  "
        "o1 = Constant <value_ints = [1, 1]> ()  r = Concat <axis = 0> (z2, o1)  g = Reshape(s, r)",
    ),
    "expand-as": (
        "f = Flatten(q)",
        "r = Constant <value_ints = [-1, 8, 1, 1]> ()  k = Reshape(s, r)  z = Shape(x)  g = Expand(k, z)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SHAPES)
def test_shape_around_the_layers(spelling: str) -> None:
    before, after = SHAPES[spelling]
    body = f"q = GlobalAveragePool(x)  {before}  h = Gemm <transB = 1> (f, w1, b1)  a = Relu(h)  v = Gemm <transB = 1> (a, w2, b2)  s = Sigmoid(v)"
    check(model(f"{body}  {after}  y = Mul(x, g)"), [RELU])


def test_squeeze_without_axes_where_the_batch_is_known_not_to_be_one() -> None:
    body = f"p = GlobalAveragePool(x)  f = Squeeze(p)  h = Gemm(f, w1t, b1)  a = Relu(h)  v = Gemm(a, w2t, b2)  s = Sigmoid(v)  {BACK}"
    check(model(body, x="float[2, 8, 5, 7] x", y="float[2, 8, 5, 7] y"), [RELU], batches=(2,))


SIXTH = "k3 = Constant <value_float = 3.0> ()  k0 = Constant <value_float = 0.0> ()  k6 = Constant <value_float = 6.0> ()"
ACTS = {
    "relu": ("relu", "a = Relu(h)"),
    "relu-as-max": ("relu", "k0 = Constant <value_float = 0.0> ()  a = Max(h, k0)"),
    "relu-as-clip": ("relu", "k0 = Constant <value_float = 0.0> ()  a = Clip(h, k0)"),
    "relu6": ("relu6", f"{SIXTH}  a = Clip(h, k0, k6)"),
    "relu6-as-min": ("relu6", f"{SIXTH}  r = Relu(h)  a = Min(r, k6)"),
    "silu": ("silu", "s = Sigmoid(h)  a = Mul(h, s)"),
    "silu-spelled-out": ("silu", "n = Neg(h)  e = Exp(n)  k1 = Constant <value_float = 1.0> ()  d = Add(e, k1)  a = Div(h, d)"),
    "hardswish": ("hardswish", "a = HardSwish(h)"),
    "hardswish-hardsigmoid": ("hardswish", "s = HardSigmoid <alpha = 0.16666667, beta = 0.5> (h)  a = Mul(s, h)"),
    "hardswish-clip-div": ("hardswish", f"{SIXTH}  t = Add(h, k3)  c = Clip(t, k0, k6)  m = Mul(h, c)  a = Div(m, k6)"),
    "hardswish-converter": (
        "hardswish",
        f"{SIXTH}  k = Constant <value_float = 0.166666701> ()  t = Add(k3, h)  c = Clip(t, k0, k6)  m = Mul(c, k)  a = Mul(h, m)",
    ),
    "gelu-erf": (
        "gelu",
        "q = Constant <value_float = 1.4142135> ()  k1 = Constant <value_float = 1.0> ()  k = Constant <value_float = 0.5> ()  "
        "d = Div(h, q)  e = Erf(d)  o = Add(e, k1)  m = Mul(h, o)  a = Mul(m, k)",
    ),
    "gelu-tanh": (
        "gelu_tanh",
        "k3 = Constant <value_float = 3.0> ()  c = Constant <value_float = 0.044715> ()  q = Constant <value_float = 0.7978845608> ()  "
        "k1 = Constant <value_float = 1.0> ()  k = Constant <value_float = 0.5> ()  u = Pow(h, k3)  w0 = Mul(u, c)  s = Add(h, w0)  "
        "m = Mul(s, q)  t = Tanh(m)  o = Add(t, k1)  f = Mul(h, o)  a = Mul(f, k)",
    ),
    "leaky": ("leaky", "a = LeakyRelu <alpha = 0.1> (h)"),
    "leaky-default": ("leaky", "a = LeakyRelu(h)"),
    "leaky-as-max": ("leaky", "k = Constant <value_float = 0.2> ()  s = Mul(h, k)  a = Max(h, s)"),
    "prelu-scalar": ("leaky", "k = Constant <value_floats = [0.3]> ()  a = PRelu(h, k)"),
    "prelu": ("prelu", "a = PRelu(h, slope)"),
}


@pytest.mark.parametrize("spelling", ACTS)
def test_activation(spelling: str) -> None:
    act, body = ACTS[spelling]
    result = check(
        model(f"p = GlobalAveragePool(x)  h = Conv(p, W1, b1)  {body}  v = Conv(a, W2, b2)  g = Sigmoid(v)  y = Mul(x, g)"),
        [f"{act}_sigmoid_skip_none_then_none"],
    )
    leaks = {"leaky": 0.1, "leaky-default": 0.01, "leaky-as-max": 0.2, "prelu-scalar": 0.3}
    assert result.found.matches[0].attributes == ({"leak": float(np.float32(leaks[spelling]))} if act == "leaky" else {})


@pytest.mark.parametrize(("act", "body"), [("gelu", "a = Gelu(h)"), ("gelu_tanh", 'a = Gelu <approximate = "tanh"> (h)')])
def test_gelu_operator(act: str, body: str) -> None:
    plain = model(f"p = GlobalAveragePool(x)  h = Conv(p, W1, b1)  {body}  v = Conv(a, W2, b2)  g = Sigmoid(v)  y = Mul(x, g)", opset=20)
    check(plain, [f"{act}_sigmoid_skip_none_then_none"])


GATES = {
    "hardsigmoid": ("hardsigmoid", 0.25, 0.4, "g = HardSigmoid <alpha = 0.25, beta = 0.4> (v)"),
    "hardsigmoid-defaults": ("hardsigmoid", 0.2, 0.5, "g = HardSigmoid(v)"),
    "clip-div": ("hardsigmoid", 1 / 6, 0.5, f"{SIXTH}  t = Add(v, k3)  c = Clip(t, k0, k6)  g = Div(c, k6)"),
    "clip-mul": (
        "hardsigmoid", float(np.float32(0.1666667)), 3 * float(np.float32(0.1666667)),
        f"{SIXTH}  k = Constant <value_float = 0.1666667> ()  t = Add(v, k3)  c = Clip(t, k0, k6)  g = Mul(c, k)",
    ),
    "relu6-div": ("hardsigmoid", 1 / 6, 0.5, f"{SIXTH}  t = Add(v, k3)  r = Relu(t)  c = Min(k6, r)  g = Div(c, k6)"),
    "slope-first": (
        "hardsigmoid", 0.2, 0.5,
        "k = Constant <value_float = 0.2> ()  h0 = Constant <value_float = 0.5> ()  k0 = Constant <value_float = 0.0> ()  "
        "k1 = Constant <value_float = 1.0> ()  m = Mul(v, k)  t = Add(m, h0)  g = Clip(t, k0, k1)",
    ),
    "clip-alone": ("hardsigmoid", 1.0, 0.0, "k0 = Constant <value_float = 0.0> ()  k1 = Constant <value_float = 1.0> ()  g = Clip(v, k0, k1)"),
    "sigmoid-spelled-out": (
        "sigmoid", None, None, "n = Neg(v)  e = Exp(n)  k1 = Constant <value_float = 1.0> ()  d = Add(e, k1)  g = Reciprocal(d)",
    ),
    "sigmoid-by-tanh": (
        "sigmoid", None, None,
        "k = Constant <value_float = 0.5> ()  m = Mul(v, k)  t = Tanh(m)  n = Mul(t, k)  g = Add(n, k)",
    ),
    "tanh": ("tanh", 1.0, 0.0, "g = Tanh(v)"),
    "one-plus-tanh": ("tanh", 1.0, 1.0, "k1 = Constant <value_float = 1.0> ()  t = Tanh(v)  g = Add(t, k1)"),
    "twice-sigmoid": ("tanh", 1.0, 1.0, "k2 = Constant <value_float = 2.0> ()  t = Sigmoid(v)  g = Mul(t, k2)"),
}  # fmt: skip


@pytest.mark.parametrize("spelling", GATES)
def test_gate(spelling: str) -> None:
    gate, alpha, beta, body = GATES[spelling]
    result = check(
        model(f"p = GlobalAveragePool(x)  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  {body}  y = Mul(g, x)"),
        [f"relu_{gate}_skip_none_then_none"],
    )
    expected = {} if alpha is None else {"alpha": float(np.float32(alpha)), "beta": float(np.float32(beta))}
    assert result.found.matches[0].attributes == expected


def test_clip_with_bounds_as_attributes() -> None:
    """Below opset 11; the node's function needs that, so the block is named and left."""
    plain = model(f"p = GlobalAveragePool(x)  {FCS.replace('Relu(h)', 'Clip <min = 0.0, max = 6.0> (h)')}  y = Mul(x, g)", opset=10)
    from se_deploy.graph.find import find

    found = find(plain)
    assert [r.id for r in found.rejections] == ["old-opset"]


def test_alphas_of_one_file_differ() -> None:
    block = "p{0} = GlobalAveragePool({1})  h{0} = Conv(p{0}, W1, b1)  a{0} = Relu(h{0})  v{0} = Conv(a{0}, W2, b2)"
    body = f"{block.format(0, 'x')}  g0 = HardSigmoid <alpha = 0.16666667> (v0)  z = Mul(x, g0)  {block.format(1, 'z')}  g1_ = HardSigmoid(v1_)  y = Mul(z, g1_)"
    result = check(model(body.replace("v1 = ", "v1_ = ")), [HARD, HARD])
    assert [m.attributes["alpha"] for m in result.found.matches] == [float(np.float32(1 / 6)), float(np.float32(0.2))]


MAPS = {
    "1-d": ("float[N, 8, 9] x", "W1d", "W2d"),
    "3-d": ("float[N, 8, 3, 4, 5] x", "W3", "W4"),
    "any-size": ("float[N, 8, H, W] x", "W1", "W2"),
    "static-batch": ("float[2, 8, 5, 7] x", "W1", "W2"),
    "one-pixel": ("float[N, 8, 1, 1] x", "W1", "W2"),
}


@pytest.mark.parametrize("kind", MAPS)
def test_map(kind: str) -> None:
    x, w1, w2 = MAPS[kind]
    body = f"p = GlobalAveragePool(x)  h = Conv(p, {w1}, b1)  a = Relu(h)  v = Conv(a, {w2}, b2)  g = Sigmoid(v)  y = Mul(x, g)"
    check(model(body, x=x, y=x.replace(" x", " y")), [RELU], batches=(2,) if "2, 8" in x else (1, 3))


def test_channels_last() -> None:
    body = (
        "m = ReduceMean <axes = [1, 2]> (x)  h = MatMul(m, w1t)  i = Add(h, b1)  a = Relu(i)  v = MatMul(a, w2t)  o = Add(v, b2)  "
        "g = Sigmoid(o)  y = Mul(x, g)"
    )
    result = check(model(body, x="float[N, 5, 7, 8] x", y="float[N, 5, 7, 8] y"), ["Transpose", RELU, "Transpose"])
    assert result.found.matches[0].channels_last
    assert result.found.matches[0].spatial == (5, 7)


def test_channels_last_between_transposes_and_with_residual() -> None:
    body = (
        "z = Conv(x, P)  t = Transpose <perm = [0, 2, 3, 1]> (z)  m = ReduceMean <axes = [1, 2], keepdims = 0> (t)  h = MatMul(m, w1t)  a = Relu(h) "
        "v = MatMul(a, w2t)  s = Sigmoid(v)  e = Constant <value_ints = [1, 2]> ()  g = Unsqueeze(s, e)  k = Mul(t, g)  "
        "r = Transpose <perm = [0, 2, 3, 1]> (x)  q = Add(k, r)  f = Relu(q)  y = Transpose <perm = [0, 3, 1, 2]> (f)"
    )
    plain = model(body)
    result = check(
        plain, ["Conv", "Transpose", "Transpose", "Transpose", "Transpose", "relu_sigmoid_skip_add_then_relu", "Transpose", "Transpose"]
    )
    assert result.found.matches[0].channels_last


@pytest.mark.parametrize("opset", [13, 17])
def test_fp16_weights_become_fp32_and_the_map_stays_fp16(opset: int) -> None:
    plain = model(f"p = GlobalAveragePool(x)  {FCS}  y = Mul(x, g)", x="float16[N, 8, 5, 7] x", y="float16[N, 8, 5, 7] y", opset=opset)
    for tensor in plain.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    result = check(plain, [RELU, "Cast"] if opset < 15 else [RELU], tolerance=2e-3)
    assert {i.data_type for i in result.model.graph.initializer} == {TensorProto.FLOAT}
    assert result.found.matches[0].elem_type == TensorProto.FLOAT16


def test_fp16_map_with_an_fp32_gate() -> None:
    body = f"c = Cast <to = 1> (x)  p = GlobalAveragePool(c)  {FCS}  d = Cast <to = 10> (g)  y = Mul(x, d)"
    check(model(body, x="float16[N, 8, 5, 7] x", y="float16[N, 8, 5, 7] y"), [RELU], tolerance=2e-3)


def test_weights_in_constant_nodes() -> None:
    from onnx import helper

    plain = model(f"p = GlobalAveragePool(x)  {FCS}  y = Mul(x, g)")
    constants = [helper.make_node("Constant", [], [i.name], value=i) for i in plain.graph.initializer]
    nodes = [*constants, *plain.graph.node]
    del plain.graph.initializer[:], plain.graph.node[:]
    plain.graph.node.extend(nodes)
    check(plain, [RELU])


def test_nodes_out_of_order_are_followed_and_written_in_order() -> None:
    from se_deploy.graph.fuse import fuse

    plain = model(f"p = GlobalAveragePool(x)  {FCS}  y = Mul(x, g)")
    nodes = list(plain.graph.node)[::-1]
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    assert [n.op_type for n in fuse(plain).model.graph.node] == [f"SqueezeExcite_{RELU}"]


def test_nodes_that_no_output_needs_are_no_readers() -> None:
    check(model(f"p = GlobalAveragePool(x)  {FCS}  y = Mul(x, g)  dead = Relu(p)  deader = Add(dead, g)"), [RELU])


def test_pooled_map_may_have_other_readers() -> None:
    check(
        model(f"z = Conv(x, P)  p = GlobalAveragePool(z)  {FCS}  s = Mul(z, g)  t = Relu(z)  y = Add(s, t)"),
        ["Conv", "Relu", "relu_sigmoid_skip_add_then_none"],
    )
