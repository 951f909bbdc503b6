"""Networks whose every node is a SqueezeExcite of its own, all reading the same x and residual: one engine tries many variants."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.op import VARIANTS
from tests.plugins.cases import Case, inputs_of

KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16, "int8": TensorProto.INT8}
HEIGHT, WIDTH = 7, 9


def cases(dtype: str, layout: str, acts: Sequence[str]) -> list[Case]:
    """One of each variant with these activations, on maps of 40 channels."""
    variants = [v for v in VARIANTS.values() if not v.int8 and v.act in acts]
    return [
        Case(dtype, layout, v.act, v.gate, v.skip, v.epilogue, n=2, c=40, r=8, hw=HEIGHT * WIDTH, seed=seed)
        for seed, v in enumerate(variants)
    ]


def inputs(chosen: Sequence[Case]) -> list[dict[str, np.ndarray]]:
    """Each case's inputs, with x and the residual of all alike."""
    drawn = [inputs_of(case) for case in chosen]
    shared = {name: next(one[name] for one in drawn if name in one) for name in ("x", "residual") if any(name in one for one in drawn)}
    return [{name: shared.get(name, value) for name, value in one.items()} for one in drawn]


def network(chosen: Sequence[Case]) -> ModelProto:
    """Inputs x and residual, outputs y0, y1, … in the order of the cases."""
    nodes, held = [], []
    for number, (case, values) in enumerate(zip(chosen, inputs(chosen), strict=True)):
        shared = ("x", "residual")
        held += [numpy_helper.from_array(value, f"{number}.{name}") for name, value in values.items() if name not in shared]
        names = [name if name in shared else f"{number}.{name}" for name in case.variant.inputs]
        nodes.append(op.make_node(case.variant, names, f"y{number}", f"se{number}", case.attributes))
    first = chosen[0]
    shape, kind = [first.n, first.c, HEIGHT, WIDTH], KINDS[first.dtype]
    used = ["x", *(["residual"] if any(case.skip == "add" for case in chosen) else [])]
    graph = helper.make_graph(
        nodes,
        "many",
        [helper.make_tensor_value_info(name, kind, shape) for name in used],
        [helper.make_tensor_value_info(f"y{number}", kind, shape) for number in range(len(chosen))],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    op.declare(model)
    onnx.checker.check_model(model)
    return model
