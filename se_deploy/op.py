"""The SqueezeExcite node: variants, attributes, function bodies, NumPy reference. Everyone's contract.

    y = epilogue(x * gate(W2 act(W1 mean_hw(x) + b1) + b2)  [+ residual | + x])

(Hu et al., "Squeeze-and-Excitation Networks", 2018, equations 2-4, with what stands behind the block taken along.) Everything inside
is computed in FP32 whatever the type of x, and rounded once, at the end: a sum over 112x112 values does not fit FP16.

Inputs, in this order: `x (N, C, *spatial)`; `w1 (R, C)`, `b1 (R,)` (two-FC variants); `w2 (C, R)`, `b2 (C,)` (`w2 (C, C)` where there is
one FC); `slope (R,)` (prelu); `residual`, like x (skip "add"). Weights are FP32 and always there: an absent bias is zeros.
Output: y, like x. In INT8 form x, residual and y are int8 with the scales `x_scale`, `residual_scale`, `y_scale` as attributes
(symmetric, zero point 0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, TensorProto, helper

DOMAIN = "se_deploy"
#: Version of the plugin that takes the node over in TensorRT; changes when a field or a meaning does.
PLUGIN_VERSION = "1"
#: Model-local functions need this IR version; onnx.checker lets an older one pass, runtimes do not.
MIN_IR_VERSION = 8

ACTS = ("none", "relu", "relu6", "silu", "hardswish", "gelu", "gelu_tanh", "leaky", "prelu")
GATES = ("sigmoid", "hardsigmoid", "tanh")
SKIPS = ("none", "add", "self")
EPILOGUES = ("none", "relu", "silu", "hardswish")

#: Where a variant has them, and what ONNX's own operators take when nothing is said.
GATE_DEFAULTS = {"hardsigmoid": {"alpha": 0.2, "beta": 0.5}, "tanh": {"alpha": 1.0, "beta": 0.0}}
LEAKY_DEFAULT = 0.01

Array = NDArray[np.generic]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Variant:
    """What distinguishes one SqueezeExcite function from another; numbers (alpha, beta, leak, scales) are the node's attributes.

    `act` "none" is the one-FC gate (ESE): x, w2, b2 alone. `gate` "hardsigmoid" is clip(alpha v + beta, 0, 1), "tanh" is
    alpha tanh(v) + beta. `skip` "add" adds a residual, "self" adds x itself. `int8` is the form with int8 x, residual and y.
    """

    act: str = "relu"
    gate: str = "sigmoid"
    skip: str = "none"
    epilogue: str = "none"
    int8: bool = False

    def __post_init__(self) -> None:
        for field, allowed in (("act", ACTS), ("gate", GATES), ("skip", SKIPS), ("epilogue", EPILOGUES)):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} {getattr(self, field)!r} is none of {', '.join(allowed)}")

    @property
    def name(self) -> str:
        """The op type, unique per variant because TensorRT's parser keys functions by name alone."""
        parts = [f"SqueezeExcite_{self.act}_{self.gate}", f"skip_{self.skip}", f"then_{self.epilogue}"]
        return "_".join(parts + ["int8"] * self.int8)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the node's inputs, in order."""
        first = () if self.act == "none" else ("w1", "b1")
        slope = ("slope",) if self.act == "prelu" else ()
        residual = ("residual",) if self.skip == "add" else ()
        return ("x", *first, "w2", "b2", *slope, *residual)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the node's float attributes; a node carries every one of them."""
        gate = tuple(GATE_DEFAULTS.get(self.gate, ()))
        leak = ("leak",) if self.act == "leaky" else ()
        scales = ("x_scale", *(("residual_scale",) if self.skip == "add" else ()), "y_scale") if self.int8 else ()
        return (*gate, *leak, *scales)


#: Every variant there is, by op type: what the plugin registers and what a reader looks a node up in.
VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(act, gate, skip, epilogue, int8)
        for act in ACTS
        for gate in GATES
        for skip in SKIPS
        for epilogue in EPILOGUES
        for int8 in (False, True)
    )
}


def min_opset(variant: Variant) -> int:
    """The lowest ONNX opset that a variant's function runs at: Clip's bounds are inputs from 11, a Constant takes a number from 12."""
    return 12 if variant.int8 or variant.gate == "tanh" else 11


def variant_of(node: NodeProto) -> Variant | None:
    """The variant a node is, or None for a node that is not ours."""
    return VARIANTS.get(node.op_type) if node.domain == DOMAIN else None


def make_node(variant: Variant, inputs: Sequence[str], output: str, name: str, attributes: Mapping[str, float] | None = None) -> NodeProto:
    """A SqueezeExcite node. `inputs` are in the order of `variant.inputs`; `attributes` must hold exactly `variant.attributes`.

    Raises:
        ValueError: inputs or attributes are not what the variant takes.
    """
    values = dict(attributes or {})
    if len(inputs) != len(variant.inputs) or not all(inputs):
        raise ValueError(f"{variant.name} takes {', '.join(variant.inputs)}; got {list(inputs)}")
    if set(values) != set(variant.attributes):
        raise ValueError(f"{variant.name} needs the attributes {variant.attributes}; got {sorted(values)}")
    node = helper.make_node(variant.name, list(inputs), [output], name, domain=DOMAIN)
    # The function does not declare these two; TensorRT's parser reads them to find the plugin.
    node.attribute.append(helper.make_attribute("plugin_namespace", DOMAIN))
    node.attribute.append(helper.make_attribute("plugin_version", PLUGIN_VERSION))
    node.attribute.extend(helper.make_attribute(key, float(values[key])) for key in variant.attributes)
    return node


def attributes_of(node: NodeProto) -> dict[str, float]:
    """The float attributes of one of our nodes."""
    return {a.name: a.f for a in node.attribute if a.type == AttributeProto.FLOAT}


def opset_of(model: ModelProto) -> int:
    """The opset of ONNX's own operators; 0 where the file names none."""
    return max((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def declare(model: ModelProto, *, planes: bool = False) -> None:
    """Gives `model` the functions, the opset import and the IR version that its SqueezeExcite nodes need; drops unused ones of ours.

    `planes` as of `function`.
    """
    used = sorted({node.op_type for node in model.graph.node if variant_of(node)})
    opset = opset_of(model)
    kept = [f for f in model.functions if f.domain != DOMAIN]
    del model.functions[:]
    model.functions.extend(kept)
    model.functions.extend(function(VARIANTS[name], opset, planes=planes) for name in used)
    imports = [o for o in model.opset_import if o.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    if used:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        model.ir_version = max(model.ir_version, MIN_IR_VERSION)


class _Body:
    """Collects a function's nodes; every method returns the name of what it computed."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        out = f"t{len(self.nodes)}"
        references = {k: v for k, v in attributes.items() if isinstance(v, _Ref)}
        node = helper.make_node(kind, list(inputs), [out])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items() if k not in references)
        for key, ref in references.items():
            node.attribute.append(AttributeProto(name=key, type=AttributeProto.FLOAT, ref_attr_name=ref.name))
        self.nodes.append(node)
        return out

    def const(self, value: float) -> str:
        return self.op("Constant", value=helper.make_tensor("value", TensorProto.FLOAT, [], [value]))

    def attribute(self, name: str) -> str:
        return self.op("Constant", value_float=_Ref(name))

    def ints(self, *values: int) -> str:
        return self.op("Constant", value_ints=values)

    def floats(self, x: str) -> str:
        return self.op("Cast", x, to=TensorProto.FLOAT)


@dataclass(frozen=True)
class _Ref:
    """A function attribute that a body node's attribute takes its value from."""

    name: str


def _sigmoid_body(body: _Body, v: str) -> str:
    return body.op("Sigmoid", v)


def _hardswish_body(body: _Body, v: str) -> str:
    return body.op("Mul", v, body.op("HardSigmoid", v, alpha=1 / 6, beta=0.5))


def _gelu_body(body: _Body, v: str) -> str:
    erf = body.op("Erf", body.op("Mul", v, body.const(math.sqrt(0.5))))
    return body.op("Mul", body.op("Mul", v, body.const(0.5)), body.op("Add", erf, body.const(1.0)))


def _gelu_tanh_body(body: _Body, v: str) -> str:
    cube = body.op("Mul", body.op("Mul", body.op("Mul", v, v), v), body.const(0.044715))
    inner = body.op("Mul", body.op("Add", v, cube), body.const(math.sqrt(2 / math.pi)))
    return body.op("Mul", body.op("Mul", v, body.const(0.5)), body.op("Add", body.op("Tanh", inner), body.const(1.0)))


def _act_body(body: _Body, act: str, v: str) -> str:
    match act:
        case "none":
            return v
        case "relu":
            return body.op("Relu", v)
        case "relu6":
            return body.op("Clip", v, body.const(0.0), body.const(6.0))
        case "silu":
            return body.op("Mul", v, _sigmoid_body(body, v))
        case "hardswish":
            return _hardswish_body(body, v)
        case "gelu":
            return _gelu_body(body, v)
        case "gelu_tanh":
            return _gelu_tanh_body(body, v)
        case "leaky":
            return body.op("LeakyRelu", v, alpha=_Ref("leak"))
        case "prelu":
            return body.op("PRelu", v, "slope")
    raise ValueError(act)


def _gate_body(body: _Body, gate: str, v: str) -> str:
    match gate:
        case "sigmoid":
            return _sigmoid_body(body, v)
        case "hardsigmoid":
            return body.op("HardSigmoid", v, alpha=_Ref("alpha"), beta=_Ref("beta"))
        case "tanh":
            scaled = body.op("Mul", body.op("Tanh", v), body.attribute("alpha"))
            return body.op("Add", scaled, body.attribute("beta"))
    raise ValueError(gate)


def _dequantized(body: _Body, x: str, scale: str, zero: str | None) -> str:
    return body.floats(x) if zero is None else body.op("DequantizeLinear", x, body.attribute(scale), zero)


def _row_means(body: _Body, x: str, opset: int) -> str:
    """(N, C, H) of (N, C, H, W)."""
    if opset < 18:
        return body.op("ReduceMean", x, axes=[3], keepdims=0)
    return body.op("ReduceMean", x, body.ints(3), keepdims=0)


def function(variant: Variant, opset: int, *, planes: bool = False) -> FunctionProto:
    """The model-local function of a variant, for a model of the given ONNX opset.

    The pool is GlobalAveragePool (one layout flip less than ReduceMean in ONNX Runtime), the FCs are Gemms, and the gate takes the
    pooled tensor's shape back, so that 1-D, 2-D and 3-D maps share one body. Below opset 15, which has no CastLike, y is FP32 (or int8).

    With `planes`, for maps (N, C, H, W) with H > 1 alone, rows are averaged before the pool, and the gate is unsqueezed. ONNX Runtime
    moves a Transpose through ReduceMean and Unsqueeze: between integer convolutions, which it computes in (N, H, W, C), no map is
    transposed then (from opset 13 on). One ReduceMean over H and W would add up in another order at batch 1, and in FP32 too coarsely:
    a row of an INT8 network would not answer as it does alone.
    """
    body = _Body()
    zero = None
    if variant.int8:
        zero = body.op("Constant", value=helper.make_tensor("zero", TensorProto.INT8, [], [0]))
    x = _dequantized(body, "x", "x_scale", zero)
    pooled = body.op("GlobalAveragePool", _row_means(body, x, opset) if planes else x)
    hidden = body.op("Flatten", pooled, axis=1)
    if variant.act != "none":
        hidden = _act_body(body, variant.act, body.op("Gemm", hidden, "w1", "b1", transB=1))
    logits = body.op("Gemm", hidden, "w2", "b2", transB=1)
    gate = _gate_body(body, variant.gate, logits)
    gate = body.op("Unsqueeze", gate, body.ints(2, 3)) if planes else body.op("Reshape", gate, body.op("Shape", pooled))
    y = body.op("Mul", x, gate)
    if variant.skip == "add":
        y = body.op("Add", y, _dequantized(body, "residual", "residual_scale", zero))
    elif variant.skip == "self":
        y = body.op("Add", y, x)
    y = _act_body(body, variant.epilogue, y)
    if zero is not None:
        y = body.op("QuantizeLinear", y, body.attribute("y_scale"), zero)
    else:
        y = body.op("CastLike", y, "x") if opset >= 15 else body.op("Identity", y)
    body.nodes[-1].output[0] = "y"
    imports = [helper.make_opsetid("", opset)]
    return helper.make_function(DOMAIN, variant.name, list(variant.inputs), ["y"], body.nodes, imports, list(variant.attributes))


def sigmoid(v: Float) -> Float:
    """1 / (1 + e^-v) without overflow."""
    return np.asarray(np.exp(-np.logaddexp(np.float32(0), -v)), np.float32)


def _hardsigmoid(v: Float, alpha: float, beta: float) -> Float:
    return np.asarray(np.clip(np.float32(alpha) * v + np.float32(beta), 0, 1), np.float32)


def _erf(v: Float) -> Float:
    return np.vectorize(math.erf, otypes=[np.float32])(v) if v.size else v


def _act(act: str, v: Float, attributes: Mapping[str, float], slope: Float | None) -> Float:
    match act:
        case "none":
            out = v
        case "relu":
            out = np.maximum(v, 0)
        case "relu6":
            out = np.clip(v, 0, 6)
        case "silu":
            out = v * sigmoid(v)
        case "hardswish":
            out = v * _hardsigmoid(v, 1 / 6, 0.5)
        case "gelu":
            out = v * 0.5 * (1 + _erf(v * np.float32(math.sqrt(0.5))))
        case "gelu_tanh":
            out = v * 0.5 * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (v + np.float32(0.044715) * v * v * v)))
        case "leaky":
            out = np.where(v < 0, np.float32(attributes["leak"]) * v, v)
        case "prelu":
            out = np.where(v < 0, slope * v, v)  # type: ignore[operator]  # a prelu variant has its slope input
        case _:
            raise ValueError(act)
    return np.asarray(out, dtype=np.float32)


def _gate(gate: str, v: Float, attributes: Mapping[str, float]) -> Float:
    match gate:
        case "sigmoid":
            return sigmoid(v)
        case "hardsigmoid":
            return _hardsigmoid(v, attributes["alpha"], attributes["beta"])
        case "tanh":
            out: Float = np.float32(attributes["alpha"]) * np.tanh(v) + np.float32(attributes["beta"])
            return out
    raise ValueError(gate)


def quantize(v: Float, scale: float) -> NDArray[np.int8]:
    """QuantizeLinear with zero point 0: round half to even, saturate to -128..127."""
    return np.asarray(np.clip(np.rint(v / np.float32(scale)), -128, 127), np.int8)


def reference(variant: Variant, inputs: Mapping[str, Array], attributes: Mapping[str, float] | None = None) -> Array:
    """The node in NumPy: FP32 inside (the mean in FP64), rounded once to x's type.

    Args:
        variant: which SqueezeExcite.
        inputs: by name, as in `variant.inputs`: x (N, C, *spatial) in FP32, FP16 or int8, weights in FP32.
        attributes: by name, as in `variant.attributes`.

    Returns:
        y, of x's shape and type.
    """
    values = dict(attributes or {})
    weights = {k: np.asarray(inputs[k], np.float32) for k in ("w1", "b1", "w2", "b2", "slope") if k in variant.inputs}

    def read(name: str) -> Float:
        scale = np.float32(values[f"{name}_scale"]) if variant.int8 else np.float32(1)
        return inputs[name].astype(np.float32) * scale

    x = read("x")
    hidden = x.mean(axis=tuple(range(2, x.ndim)), dtype=np.float64).astype(np.float32)
    if variant.act != "none":
        hidden = _act(variant.act, hidden @ weights["w1"].T + weights["b1"], values, weights.get("slope"))
    gate = _gate(variant.gate, hidden @ weights["w2"].T + weights["b2"], values)
    y = x * gate.reshape(*gate.shape, *[1] * (x.ndim - 2))
    if variant.skip == "add":
        y = y + read("residual")
    elif variant.skip == "self":
        y = y + x
    y = _act(variant.epilogue, y, values, None)
    return quantize(y, values["y_scale"]) if variant.int8 else y.astype(inputs["x"].dtype)
