"""What stands behind a block: the residual and the activation, taken along only where that changes nothing else."""

import pytest

from tests.graph.spelled import FCS, check, model

SE = f"p = GlobalAveragePool(x)  {FCS}  s = Mul(x, g)"
K = "k3 = Constant <value_float = 3.0> ()  k0 = Constant <value_float = 0.0> ()  k6 = Constant <value_float = 6.0> ()"


def name(skip: str, epilogue: str = "none", act: str = "relu") -> str:
    return f"{act}_sigmoid_skip_{skip}_then_{epilogue}"


TAKEN = {
    "add": (["Conv", name("add")], "r = Conv(x, P)  y = Add(s, r)"),
    "add-the-other-way": (["Conv", name("add")], "r = Conv(x, P)  y = Add(r, s)"),
    "sum": (["Conv", name("add")], "r = Conv(x, P)  y = Sum(s, r)"),
    "add-relu": (["Conv", name("add", "relu")], "r = Conv(x, P)  q = Add(s, r)  y = Relu(q)"),
    "add-silu": (["Conv", name("add", "silu")], "r = Conv(x, P)  q = Add(s, r)  t = Sigmoid(q)  y = Mul(q, t)"),
    "add-hardswish": (["Conv", name("add", "hardswish")], "r = Conv(x, P)  q = Add(s, r)  y = HardSwish(q)"),
    "add-relu-as-clip": (["Conv", name("add", "relu")], f"{K}  r = Conv(x, P)  q = Add(s, r)  y = Clip(q, k0)"),
    "identity-between": (["Conv", "Identity", name("add")], "r = Conv(x, P)  i = Identity(r)  j = Identity(i)  y = Add(s, j)"),
    "self": ([name("self")], "y = Add(s, x)"),
    "self-relu": ([name("self", "relu")], "q = Add(x, s)  y = Relu(q)"),
    "relu": ([name("none", "relu")], "y = Relu(s)"),
    "hardswish": ([name("none", "hardswish")], "y = HardSwish(s)"),
    "hardswish-spelled-out": ([name("none", "hardswish")], f"{K}  t = Add(s, k3)  c = Clip(t, k0, k6)  d = Div(c, k6)  y = Mul(d, s)"),
    "hardswish-by-hardsigmoid": ([name("none", "hardswish")], "c = HardSigmoid <alpha = 0.16666667> (s)  y = Mul(c, s)"),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_taken_along(kind: str) -> None:
    ops, body = TAKEN[kind]
    ops = [o for o in ops if o != "Identity"]
    check(model(f"{SE}  {body}"), ops)


LEFT = {
    "scaled-map-feeds-a-convolution-too": ([name("none"), "Conv", "Conv", "Add", "Add"], "c = Conv(s, P)  r = Conv(x, P)  q = Add(s, r)  y = Add(q, c)"),
    "added-twice": ([name("none"), "Add"], "y = Add(s, s)"),
    "subtracted": ([name("none"), "Sub"], "y = Sub(s, x)"),
    "residual-broadcasts-over-the-map": ([name("none"), "AveragePool", "Add"], "r = AveragePool <kernel_shape = [5, 7]> (x)  y = Add(s, r)"),
    "residual-broadcasts-over-the-batch": ([name("none"), "Add"], "y = Add(s, b2c)"),
    "residual-depends-on-the-block": ([name("none"), "Conv", "Add"], "r = Conv(s, P)  y = Add(s, r)"),
    "relu6-behind": ([name("none"), "Clip"], f"{K}  y = Clip(s, k0, k6)"),
    "tanh-behind": ([name("none"), "Tanh"], "y = Tanh(s)"),
    "two-readers-behind": ([name("none"), "Relu", "Conv", "Add"], "t = Relu(s)  c = Conv(s, P)  y = Add(t, c)"),
    "sigmoid-of-silu-read-elsewhere": (
        [name("none"), "Sigmoid", "Mul", "Conv", "Add"], "t = Sigmoid(s)  m = Mul(s, t)  c = Conv(t, P)  y = Add(m, c)",
    ),
    "normalised-before-the-residual": (
        [name("none"), "BatchNormalization", "Add"], "n = BatchNormalization(s, gp, bp, mp, vp)  y = Add(n, x)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LEFT)
def test_left_behind(kind: str) -> None:
    ops, body = LEFT[kind]
    check(model(f"{SE}  {body}"), ops)


def test_one_plus_gate_is_x_plus_x_times_gate() -> None:
    body = "p = GlobalAveragePool(x)  h = Conv(p, W1, b1)  a = Relu(h)  v = Conv(a, W2, b2)  t = Sigmoid(v)  k1 = Constant <value_float = 1.0> ()"
    check(model(f"{body}  g = Add(t, k1)  q = Mul(x, g)  y = Relu(q)"), [name("self", "relu")])
    check(model(f"{body}  g = Add(k1, t)  q = Mul(x, g)  r = Conv(x, P)  y = Add(q, r)"), [name("self"), "Conv", "Add"])


def test_scaled_map_that_is_an_output() -> None:
    body = f"p = GlobalAveragePool(x)  {FCS}  s = Mul(x, g)  r = Conv(x, P)  q = Add(s, r)  y = Relu(q)"
    outputs = "float[N, 8, 5, 7] y, float[N, 8, 5, 7] s"
    check(model(body, y=outputs), [name("none"), "Conv", "Add", "Relu"])


def test_sum_that_is_an_output() -> None:
    body = f"p = GlobalAveragePool(x)  {FCS}  s = Mul(x, g)  r = Conv(x, P)  q = Add(s, r)  y = Relu(q)"
    check(model(body, y="float[N, 8, 5, 7] y, float[N, 8, 5, 7] q"), ["Conv", name("add"), "Relu"])


def test_residual_that_may_broadcast_stays_outside() -> None:
    """The other side has one channel per channel, but its height is not known to be the map's."""
    check(model(f"{SE}  y = Add(s, r)", x="float[N, 8, H, W] x, float[N, 8, K, W] r", y="float[N, 8, H, W] y"), [name("none"), "Add"])


def test_residual_of_equal_symbols_is_taken() -> None:
    check(model(f"{SE}  y = Add(s, r)", x="float[N, 8, H, W] x, float[N, 8, H, W] r", y="float[N, 8, H, W] y"), [name("add")])


def test_residual_behind_a_strided_pair_of_any_size() -> None:
    """A bottleneck's two ways halve any size alike."""
    body = (
        "x = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (z, K)  r = Conv <strides = [2, 2]> (z, P)  "
        f"p = GlobalAveragePool(x)  {FCS}  s = Mul(x, g)  q = Add(s, r)  y = Relu(q)"
    )
    check(model(body, x="float[N, 8, H, W] z", y="float[N, 8, H2, W2] y"), ["Conv", "Conv", name("add", "relu")])


def test_residual_that_is_rounded_otherwise_stays_outside() -> None:
    """A 2x2 pool rounds down where the convolution rounds up: equal for even sizes alone."""
    body = (
        "x = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (z, K)  r = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (z)  "
        f"p = GlobalAveragePool(x)  {FCS}  s = Mul(x, g)  y = Add(s, r)"
    )
    check(model(body, x="float[N, 8, H, W] z", y="float[N, 8, H2, W2] y"), ["Conv", "AveragePool", name("none"), "Add"])
