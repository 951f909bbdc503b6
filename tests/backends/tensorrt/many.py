"""Networks whose every node is a SqueezeExcite of its own, all reading the same x and residual: one engine tries many variants."""

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.op import Variant

KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16, "int8": TensorProto.INT8}
N, C, R, HEIGHT, WIDTH = 2, 40, 8, 7, 9
NUMBERS = {"alpha": 0.25, "beta": 0.5, "leak": 0.1, "x_scale": 0.03, "residual_scale": 0.02, "y_scale": 0.05}


def weights(variant: Variant) -> dict[str, np.ndarray]:
    """The variant's weights, the same whatever the type."""
    rng = np.random.default_rng(sum(map(ord, variant.name)))
    columns = C if variant.act == "none" else R
    sizes = {"w1": (R, C), "b1": (R,), "w2": (C, columns), "b2": (C,), "slope": (R,)}
    return {name: rng.standard_normal(sizes[name]).astype(np.float32) for name in variant.inputs if name in sizes}


def network(variants: list[Variant], dtype: str) -> ModelProto:
    """Inputs x and r, outputs y0, y1, … in the order of the variants."""
    nodes, held = [], []
    for number, variant in enumerate(variants):
        held += [numpy_helper.from_array(value, f"{number}.{name}") for name, value in weights(variant).items()]
        inputs = [{"x": "x", "residual": "r"}.get(name, f"{number}.{name}") for name in variant.inputs]
        nodes.append(op.make_node(variant, inputs, f"y{number}", f"se{number}", {key: NUMBERS[key] for key in variant.attributes}))
    used = ["x", *(["r"] if any(variant.skip == "add" for variant in variants) else [])]
    shape = [N, C, HEIGHT, WIDTH]
    graph = helper.make_graph(
        nodes,
        "many",
        [helper.make_tensor_value_info(name, KINDS[dtype], shape) for name in used],
        [helper.make_tensor_value_info(f"y{number}", KINDS[dtype], shape) for number in range(len(variants))],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    op.declare(model)
    onnx.checker.check_model(model)
    return model
