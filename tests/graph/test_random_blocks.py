"""Random SE blocks in random spellings, with dead ends and other readers, and random look-alikes: found if and only if it is one."""

from dataclasses import dataclass

import onnx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from se_deploy.graph.fuse import fuse
from se_deploy.graph.unfuse import unfuse
from tests.graph.spelled import assert_equal, model
from tests.graph.test_spellings import ACTS, GATES, POOLS

#: From the map's mean, p, to a row of channels f, and back from the gate's row s to g.
ROWS = {
    "conv": ("", "h = Conv(p, W1, b1)", "v = Conv(a, W2, b2)", "g = Identity(s)"),
    "conv-and-add": ("", "h0 = Conv(p, W1)  h = Add(h0, b1c)", "v0 = Conv(a, W2)  v = Add(b2c, v0)", "g = Identity(s)"),
    "conv-and-batchnorm": (
        "", "h0 = Conv(p, W1)  h = BatchNormalization(h0, g1, b1, m1, v1)", "v0 = Conv(a, W2)  v = BatchNormalization(v0, g2, b2, m2, v2)", "g = Identity(s)"
    ),
    "gemm": (
        "f = Flatten(p)", "h = Gemm <transB = 1> (f, w1, b1)", "v = Gemm <transB = 1> (a, w2, b2)", "u0 = Constant <value_ints = [2, 3]> ()  g = Unsqueeze(s, u0)"
    ),
    "matmul": (
        "e0 = Constant <value_ints = [2, 3]> ()  f = Squeeze(p, e0)", "h0 = MatMul(f, w1t)  h = Add(h0, b1)", "v0 = MatMul(a, w2t)  v = Add(v0, b2)",
        "u0 = Constant <value_ints = [0, 8, 1, 1]> ()  g = Reshape(s, u0)",
    ),
    "gemm-scaled": (
        "e0 = Constant <value_ints = [0, -1]> ()  f = Reshape(p, e0)", "h = Gemm <alpha = 0.5, beta = 2.0> (f, w1t, b1)", "v = Gemm <transB = 1> (a, w2)",
        "u0 = Constant <value_ints = [-1, 8, 1, 1]> ()  g = Reshape(s, u0)",
    ),
}  # fmt: skip

#: How the map comes out of the block: (skip, epilogue, what stands behind w0).
TAILS = {
    "alone": ("none", "none", "y = Neg(w0)"),
    "residual": ("add", "none", "w1_ = Add(w0, r)  y = Neg(w1_)"),
    "residual-relu": ("add", "relu", "w1_ = Add(r, w0)  y = Relu(w1_)"),
    "itself": ("self", "none", "w1_ = Add(x, w0)  y = Neg(w1_)"),
    "relu": ("none", "relu", "y = Relu(w0)"),
    "silu": ("none", "silu", "w2_ = Sigmoid(w0)  y = Mul(w0, w2_)"),
    "two-readers": ("none", "none", "w1_ = Add(w0, r)  y = Mul(w1_, w0)"),
}

#: What makes of a block something else, and the reason that is given. Each is a (find, replace) on the text.
SPOILERS = {
    "other-tensor": ("w0 = Mul(x, g)", "x1 = Relu(x)  w0 = Mul(x1, g)"),
    "pool-max": ("p = ", "p0 = GlobalMaxPool(x)  p = Identity(p0)  unused = "),
    "pooled-shared": ("y = ", "t0 = Mul(p, p)  y = "),
    "hidden-shared": ("y = ", "t0 = Abs(a)  y = "),
    "gate-shared": ("y = ", "t0 = Abs(g)  y = "),
    "softmax": ("s = ", "s = Softmax <axis = 1> (v)  unused = "),
    "no-gate": ("s = ", "s = Identity(v)  unused = "),
    "unknown-activation": ("a = ", "a = Softplus(h)  unused = "),
    "other-op": ("s = ", "t1 = Cos(v)  s = Sigmoid(t1)  unused = "),
}
REASONS = {"no-gate": "unknown-gate"}
SHARING = frozenset({"pooled-shared", "hidden-shared", "gate-shared"})


@dataclass(frozen=True)
class Drawn:
    """A graph's text and what must be found in it."""

    text: str
    variant: str | None
    reason: str | None
    extra: str | None


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    pool, rows, tail = draw(st.sampled_from(sorted(POOLS))), draw(st.sampled_from(sorted(ROWS))), draw(st.sampled_from(sorted(TAILS)))
    act, act_text = ACTS[draw(st.sampled_from(sorted(set(ACTS) - {"prelu"})))]
    gate, _, _, gate_text = GATES[draw(st.sampled_from(sorted(GATES)))]
    spoiler = draw(st.none() | st.sampled_from(sorted(SPOILERS)))
    before, first, second, after = ROWS[rows]
    skip, epilogue, behind = TAILS[tail]
    # The parts' inner names must not meet: each gets a letter of its own.
    act_text, gate_text = _renamed(act_text, "i", "h", "a"), _renamed(gate_text, "j", "v", "g").replace("g = ", "s = ")
    product = draw(st.sampled_from(["w0 = Mul(x, g)", "w0 = Mul(g, x)"])) if spoiler != "other-tensor" else "w0 = Mul(x, g)"
    dead = draw(st.sampled_from(["", "dead = Relu(p)", "dead = Abs(g)  deader = Neg(dead)", "dead = Shape(a)"]))
    other = draw(st.sampled_from(["r = Abs(x)", "r = Conv(x, P)"]))
    text = "  ".join(
        [_renamed(POOLS[pool], "q", "x", "p"), before, first, act_text, second, gate_text, after, other, product, behind, dead]
    )
    if spoiler is not None:
        find, replacement = SPOILERS[spoiler]
        head, _, rest = text.rpartition(f" {find}") if find != "p = " else text.rpartition(find)
        text = f"{head} {replacement}{rest}"
    name = f"{act}_{gate}_skip_{skip}_then_{epilogue}"
    extra = "t0" if spoiler in SHARING else None
    return Drawn(text, None if spoiler else name, REASONS.get(spoiler, spoiler) if spoiler else None, extra)


def _renamed(text: str, letter: str, *kept: str) -> str:
    """The text with every lower-case name but those kept given a letter in front."""
    import re

    words = {w for w in re.findall(r"(\w+) = (?=[A-Z])", text) if w not in kept}
    return re.sub(r"\b(\w+)\b", lambda m: letter + m[1] if m[1] in words else m[1], text)


def built(case: Drawn) -> onnx.ModelProto:
    outputs = "float[N, 8, 5, 7] y" + (f", float {case.extra}" if case.extra else "")
    plain = model(case.text, y=outputs)
    if case.extra:  # its rank is whatever the spelling gives
        plain.graph.output[1].type.tensor_type.ClearField("shape")
    return plain


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate, Phase.shrink]
)
@given(case=drawn())
def test_found_if_and_only_if_it_is_one(case: Drawn) -> None:
    plain = built(case)
    result = fuse(plain)
    found = [m.variant.name.removeprefix("SqueezeExcite_") for m in result.found.matches]
    assert found == ([] if case.variant is None else [case.variant]), case.text
    assert [r.id for r in result.found.rejections] == ([] if case.reason is None else [case.reason]), case.text
    if case.variant is not None:
        onnx.checker.check_model(result.model, full_check=True)
        assert_equal(plain, result.model)
        assert_equal(plain, unfuse(result.model))
