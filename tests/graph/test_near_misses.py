"""What looks like an SE block and is none: left alone, each with its reason's id; and what does not even look like one: not named."""

import pytest

from se_deploy.graph.reasons import REASONS
from tests.graph.spelled import FCS, check, check_left_alone, model

GAP = "p = GlobalAveragePool(x)"
SE = f"{GAP}  {FCS}"

NEAR = {
    # Another tensor is scaled, or the gate comes from elsewhere.
    "pools-before-relu-scales-after": ("other-tensor", f"{SE}  r = Relu(x)  y = Mul(r, g)"),
    "pools-after-relu-scales-before": ("other-tensor", f"r = Relu(x)  p = GlobalAveragePool(r)  {FCS}  y = Mul(x, g)"),
    "halves-of-a-split": (
        "other-tensor",
        "s0, s1 = Split <axis = 1> (z)  p = GlobalAveragePool(s0)  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  g = Sigmoid(v)  y = Mul(s1, g)",
    ),
    "gate-of-a-strided-convolution": ("gate-not-pooled", "h = Conv <strides = [5, 7]> (x, P)  g = Sigmoid(h)  y = Mul(x, g)"),
    "local-pool": (
        "pool-local",
        "q = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)  h = Conv(q, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  g = Sigmoid(v)  "
        "y = Mul(x, g)",
    ),
    "silu-behind-a-local-pool": (
        "pool-local",
        "q = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)  g = Sigmoid(q)  y = Mul(x, g)",
    ),
    "half-of-the-pool-is-local": (
        "pool-local",
        "q = AveragePool <kernel_shape = [5, 1]> (x)  h = Conv(q, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  g = Sigmoid(v)  y = Mul(x, g)",
    ),
    # Other pools.
    "maximum": ("pool-max", f"p = GlobalMaxPool(x)  {FCS}  y = Mul(x, g)"),
    "reduced-maximum": ("pool-max", f"p = ReduceMax <axes = [2, 3]> (x)  {FCS}  y = Mul(x, g)"),
    "average-and-maximum-cbam": (
        "two-branches",
        "p = GlobalAveragePool(x)  h = Conv(p, W1)  a = Relu(h)  v = Conv(a, W2)  q = GlobalMaxPool(x)  i = Conv(q, W1)  c = Relu(i)  u = Conv(c, W2)  "
        "o = Add(v, u)  g = Sigmoid(o)  y = Mul(x, g)",
    ),
    "one-axis-of-two": ("pool-partial", "m = ReduceMean <axes = [3]> (x)  g = Sigmoid(m)  y = Mul(x, g)"),
    # Other things between pool and gate.
    "softmax": ("softmax", f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  g = Softmax <axis = 1> (v)  y = Mul(x, g)"),
    "eca": (
        "conv-over-channels",
        "p = GlobalAveragePool(x)  e = Constant <value_ints = [3]> ()  q = Squeeze(p, e)  t = Transpose <perm = [0, 2, 1]> (q)  "
        "h = Conv <pads = [1, 1]> (t, K1)  u = Transpose <perm = [0, 2, 1]> (h)  s = Sigmoid(u)  g = Unsqueeze(s, e)  y = Mul(x, g)",
    ),
    "no-layer": ("no-fc", "p = GlobalAveragePool(x)  g = Sigmoid(p)  y = Mul(x, g)"),
    "three-layers": (
        "too-many-fcs",
        f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  i = Conv(a, Wr, b1)  c = Relu(i)  v = Conv(c, W2, b2)  g = Sigmoid(v)  y = Mul(x, g)",
    ),
    "context-added": ("added", f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  y = Add(x, v)"),
    "context-by-attention-over-positions": (
        "added",
        "k = Conv(x, Wone)  r1 = Constant <value_ints = [0, 1, 35, 1]> ()  l = Reshape(k, r1)  s = Softmax <axis = 2> (l)  "
        "r2 = Constant <value_ints = [0, 1, 8, 35]> ()  m = Reshape(x, r2)  c = MatMul(m, s)  r3 = Constant <value_ints = [0, 8, 1, 1]> ()  "
        "p = Reshape(c, r3)  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  y = Add(x, v)",
    ),
    "eca-expanded": (
        "conv-over-channels",
        "q = ReduceMean <axes = [2, 3], keepdims = 0> (x)  i0 = Constant <value_ints = [0]> ()  z = Shape(x)  n = Gather(z, i0)  "
        "o1 = Constant <value_ints = [1]> ()  m1_ = Constant <value_ints = [-1]> ()  t = Concat <axis = 0> (n, o1, m1_)  r = Reshape(q, t)  "
        "h = Conv <pads = [1, 1]> (r, K1)  s = Sigmoid(h)  t2 = Concat <axis = 0> (n, m1_, o1, o1)  u = Reshape(s, t2)  g = Expand(u, z)  y = Mul(x, g)",
    ),
    "selective-kernel": (
        "softmax",
        "e = Constant <value_ints = [1]> ()  k0 = Conv <pads = [1, 1, 1, 1]> (x, K)  k1 = Conv(x, P)  a0 = Unsqueeze(k0, e)  a1 = Unsqueeze(k1, e)  "
        "b = Concat <axis = 1> (a0, a1)  c = Add(k0, k1)  p = GlobalAveragePool(c)  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, Wd)  "
        "r = Constant <value_ints = [0, 2, 8, 1, 1]> ()  l = Reshape(v, r)  g = Softmax <axis = 1> (l)  m = Mul(b, g)  y = ReduceSum <keepdims = 0> (m, e)",
    ),
    "relu-in-front-of-the-first-layer": ("other-op", f"q = GlobalAveragePool(x)  p = Relu(q)  {FCS}  y = Mul(x, g)"),
    "normalised-hidden-vector": (
        "normalised",
        f"{GAP}  f = Flatten(p)  h = Gemm(f, w1t)  n = LayerNormalization(h, g1, b1)  a = Relu(n)  v = Gemm(a, w2t)  s = Sigmoid(v)  "
        "e = Constant <value_ints = [2, 3]> ()  g = Unsqueeze(s, e)  y = Mul(x, g)",
    ),
    "mish": ("unknown-activation", f"{GAP}  h = Conv(p, W1, b1)  s = Softplus(h)  t = Tanh(s)  a = Mul(h, t)  v = Conv(a, W2, b2)  g = Sigmoid(v)  y = Mul(x, g)"),
    "quick-gelu": (
        "unknown-activation",
        f"{GAP}  h = Conv(p, W1, b1)  k = Constant <value_float = 1.702> ()  m = Mul(h, k)  s = Sigmoid(m)  a = Mul(h, s)  v = Conv(a, W2, b2)  "
        "g = Sigmoid(v)  y = Mul(x, g)",
    ),
    "relu-gate": ("unknown-gate", f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  g = Relu(v)  y = Mul(x, g)"),
    "no-gate": ("unknown-gate", f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  g = Conv(a, W2, b2)  y = Mul(x, g)"),
    "gate-of-a-clip-to-2": (
        "unknown-gate",
        f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  k0 = Constant <value_float = 0.0> ()  k2 = Constant <value_float = 2.0> ()  "
        "g = Clip(v, k0, k2)  y = Mul(x, g)",
    ),
    "gate-scaled-per-channel": ("unknown-gate", f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  s = Sigmoid(v)  g = Mul(s, b2c)  y = Mul(x, g)"),
    "channels-shuffled": (
        "reshaped",
        f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  r = Constant <value_ints = [0, 2, 4, 1]> ()  s = Reshape(v, r)  "
        "t = Transpose <perm = [0, 2, 1, 3]> (s)  q = Constant <value_ints = [0, 8, 1, 1]> ()  u = Reshape(t, q)  g = Sigmoid(u)  y = Mul(x, g)",
    ),
    "gate-cut-in-two": (
        "sliced",
        f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, Wd)  v1_, v2_ = Split <axis = 1> (v)  g = Sigmoid(v1_)  y = Mul(x, g)",
    ),
    # Somebody else reads what lies inside.
    "pooled-vector-read": ("pooled-shared", f"{SE}  y = Mul(x, g)  k = Flatten(p)"),
    "hidden-vector-read": ("hidden-shared", f"{SE}  y = Mul(x, g)  k = Flatten(a)"),
    "logits-read": ("hidden-shared", f"{SE}  y = Mul(x, g)  k = Flatten(v)"),
    "gate-is-an-output": ("gate-shared", f"{GAP}  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  k = Sigmoid(v)  y = Mul(x, k)"),
    "pooled-vector-is-an-output": (
        "pooled-shared",
        "k = GlobalAveragePool(x)  h = Conv(k, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  g = Sigmoid(v)  y = Mul(x, g)",
    ),
}  # fmt: skip

OUTPUTS = {"pooled-vector-read": "float[N, 8] k", "hidden-vector-read": "float[N, 4] k", "logits-read": "float[N, 8] k",
           "gate-is-an-output": "float[N, 8, 1, 1] k", "pooled-vector-is-an-output": "float[N, 8, 1, 1] k"}  # fmt: skip


@pytest.mark.parametrize("kind", NEAR)
def test_near_miss(kind: str) -> None:
    reason, body = NEAR[kind]
    y = "float[N, 8, 5, 7] y" + (f", {OUTPUTS[kind]}" if kind in OUTPUTS else "")
    x = "float[N, 16, 5, 7] z" if kind == "halves-of-a-split" else "float[N, 8, 5, 7] x"
    opset = 13 if kind == "halves-of-a-split" else 17
    result = check_left_alone(model(body, x=x, y=y, opset=13 if " Split " in body else opset), [reason])
    assert result.found.rejections[0].reason.startswith(REASONS[reason])


def test_gate_used_twice() -> None:
    check_left_alone(model(f"{SE}  s = Mul(x, g)  r = Relu(x)  t = Mul(r, g)  y = Add(s, t)"), ["gate-shared", "other-tensor"])


def test_weight_that_is_an_input() -> None:
    plain = model(f"{GAP}  h = Conv(p, given, b1)  a = Relu(h)  v = Conv(a, W2, b2)  g = Sigmoid(v)  y = Mul(x, g)",
                  x="float[N, 8, 5, 7] x, float[4, 8, 1, 1] given")  # fmt: skip
    check_left_alone(plain, ["weights-not-constant"])


def test_gate_that_depends_on_another_input() -> None:
    body = f"{GAP}  h = Conv(p, W1, b1)  i = Add(h, cond)  a = Relu(i)  v = Conv(a, W2, b2)  g = Sigmoid(v)  y = Mul(x, g)"
    check_left_alone(model(body, x="float[N, 8, 5, 7] x, float[N, 4, 1, 1] cond"), ["other-input"])


def test_gate_from_a_graph_input() -> None:
    check_left_alone(model("g = Sigmoid(cond)  y = Mul(x, g)", x="float[N, 8, 5, 7] x, float[N, 8, 1, 1] cond"), ["gate-not-pooled"])


def test_gate_along_the_width() -> None:
    """A (N, C) gate that is unsqueezed at the wrong places scales columns, not channels."""
    body = (
        "p = GlobalAveragePool(x)  f = Flatten(p)  h = Gemm(f, w1t)  a = Relu(h)  v = Gemm(a, w2t)  s = Sigmoid(v)  "
        "e = Constant <value_ints = [1, 2]> ()  g = Unsqueeze(s, e)  y = Mul(x, g)"
    )
    check_left_alone(model(body, x="float[N, 8, 5, 8] x", y="float[N, 8, 5, 8] y"), ["other-axis"])


def test_gate_whose_batch_lies_along_the_channels() -> None:
    """Batch 8 of 8 channels: a transposed gate has the right shape and the wrong numbers."""
    body = (
        "p = GlobalAveragePool(x)  f = Flatten(p)  h = Gemm(f, w1t)  a = Relu(h)  v = Gemm(a, w2t)  s = Sigmoid(v)  t = Transpose(s)  "
        "e = Constant <value_ints = [2, 3]> ()  g = Unsqueeze(t, e)  y = Mul(x, g)"
    )
    check_left_alone(model(body, x="float[8, 8, 5, 7] x", y="float[8, 8, 5, 7] y"), ["other-axis"])


def test_gate_that_is_expanded_beyond_the_map() -> None:
    body = f"{SE}  s = Constant <value_ints = [3, 8, 5, 7]> ()  k = Expand(g, s)  y = Mul(x, k)"
    check_left_alone(model(body, x="float[1, 8, 5, 7] x", y="float[3, 8, 5, 7] y"), ["other-shape"])


def test_double_precision() -> None:
    from onnx import numpy_helper

    plain = model(f"{SE}  y = Mul(x, g)", x="double[N, 8, 5, 7] x", y="double[N, 8, 5, 7] y")
    for tensor in plain.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float64"), tensor.name))
    check_left_alone(plain, ["double-precision"])


@pytest.mark.parametrize(
    "count",
    [
        "z = Shape(x)  i2 = Constant <value_int = 2> ()  n = Gather(z, i2)  k = Cast <to = 1> (n)  p = Div(m, k)",
        "z = Shape(x)  i1 = Constant <value_ints = [1, 2]> ()  c = Gather(z, i1)  n = ReduceProd <keepdims = 0> (c)  k = Cast <to = 1> (n)  p = Div(m, k)",
        "p = Identity(m)",
    ],
    ids=["height-alone", "channels-and-height", "not-divided"],
)
def test_sum_over_a_map_of_open_size_that_is_no_mean(count: str) -> None:
    body = f"e = Constant <value_ints = [2, 3]> ()  m = ReduceSum(x, e)  {count}  {FCS}  y = Mul(x, g)"
    check_left_alone(model(body, x="float[N, 8, H, W] x", y="float[N, 8, H, W] y"), ["pool-sum"])


UNRELATED = {
    "silu": "s = Sigmoid(x)  y = Mul(x, s)",
    "attention-over-positions": "h = Conv <pads = [1, 1, 1, 1]> (x, K)  g = Sigmoid(h)  y = Mul(x, g)",
    "hardswish": "s = HardSigmoid(x)  y = Mul(x, s)",
    "instance-norm": "m = ReduceMean <axes = [2, 3]> (x)  d = Sub(x, m)  q = Mul(d, d)  v = ReduceMean <axes = [2, 3]> (q)  "
    "k = Constant <value_float = 0.001> ()  e = Add(v, k)  r = Sqrt(e)  i = Reciprocal(r)  y = Mul(d, i)",
    "layer-norm": "m = ReduceMean <axes = [-1]> (x)  d = Sub(x, m)  q = Mul(d, d)  v = ReduceMean <axes = [-1]> (q)  "
    "k = Constant <value_float = 0.001> ()  e = Add(v, k)  r = Sqrt(e)  y = Div(d, r)",
    "layer-scale": "y = Mul(x, b2c)",
}  # fmt: skip


@pytest.mark.parametrize("kind", UNRELATED)
def test_unrelated(kind: str) -> None:
    check_left_alone(model(UNRELATED[kind]), [])


def test_head_of_a_classifier() -> None:
    check_left_alone(
        model(f"{GAP}  f = Flatten(p)  h = Gemm(f, w1t, b1)  a = Relu(h)  v = Gemm(a, w2t, b2)  y = Sigmoid(v)", y="float[N, 8] y"), []
    )


def test_block_on_a_map_decoded_from_a_pooled_vector() -> None:
    """A generator's maps come from a pooled vector too."""
    body = (
        "q = GlobalAveragePool(z)  f = Flatten(q)  l = Gemm(f, big)  r = Constant <value_ints = [-1, 8, 5, 7]> ()  x = Reshape(l, r)  "
        f"k = Conv(x, P)  p = GlobalAveragePool(k)  {FCS}  y = Mul(k, g)"
    )
    import numpy as np
    from onnx import numpy_helper

    plain = model(body, x="float[N, 8, 5, 7] z, float[8, 280] big")
    plain.graph.input.remove(next(i for i in plain.graph.input if i.name == "big"))
    plain.graph.initializer.append(numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 280)).astype(np.float32), "big"))
    check(plain, ["GlobalAveragePool", "Flatten", "Gemm", "Reshape", "Conv", "relu_sigmoid_skip_none_then_none"])


@pytest.mark.parametrize("between", ["Relu", "Identity"])
def test_block_behind_a_partial_mean(between: str) -> None:
    """A network that averages over frequency and goes on over time has blocks behind that."""
    body = (
        f"z = ReduceMean <axes = [2], keepdims = 0> (w0)  k = {between}(z)  p = GlobalAveragePool(k)  h = Conv(p, W1d, b1)  a = Relu(h)  v = Conv(a, W2d, b2)  "
        "g = Sigmoid(v)  y = Mul(k, g)"
    )
    check(
        model(body, x="float[N, 8, 5, 9] w0", y="float[N, 8, 9] y"),
        ["ReduceMean", *["Relu"] * (between == "Relu"), "relu_sigmoid_skip_none_then_none"],
    )
