"""FP16 arithmetic for a runtime that has none: FP32 nodes whose results are rounded to FP16, one by one.

ONNX Runtime's CPU provider computes FP16 nodes in FP32 and keeps what flows between them in FP32 as well, so that an FP16 model neither
overflows nor loses anything there. Casts that are written out it carries out.

    Conv (FP16) ─ Relu (FP16)        ->        Conv ─ Cast to FP16 ─ Cast to FP32 ─ Relu ─ Cast to FP16 ─ Cast to FP32
"""

from __future__ import annotations

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from se_deploy.graph.protos import copied
from se_deploy.graph.view import View

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def rounded(model: ModelProto) -> ModelProto:
    """A model without FP16 nodes that gives what a mixed model gives where each FP16 node computes exactly and rounds once.

    That is how GPUs work but for the sums of layers that some kernels keep in FP16. Inside SqueezeExcite nodes everything is FP32 in
    both. Inputs and outputs of the network are FP32. The model given is not changed.
    """
    view = View(model)
    new = copied(model, without=("node", "initializer", "input", "output", "value_info"))
    new.graph.initializer.extend(_widened(tensor) for tensor in model.graph.initializer)
    for target, ports in ((new.graph.input, model.graph.input), (new.graph.output, model.graph.output)):
        target.extend(_port(port) for port in ports)
    for node in view.nodes:
        halves = [name for name in node.outputs if view.elem_type(name) == HALF]
        new.graph.node.append(_node(node.proto, halves))
        for name in halves:
            cast = f"{name}/rounded"
            new.graph.node.append(helper.make_node("Cast", [f"{name}/exact"], [cast], f"{name}/to_fp16", to=HALF))
            new.graph.node.append(helper.make_node("Cast", [cast], [name], f"{name}/to_fp32", to=FLOAT))
    return new


def _node(proto: NodeProto, halves: list[str]) -> NodeProto:
    """The node in FP32; what it gave in FP16 is called NAME/exact."""
    node = NodeProto()
    node.CopyFrom(proto)
    node.output[:] = [f"{name}/exact" if name in halves else name for name in proto.output]
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            attribute.t.CopyFrom(_widened(attribute.t))
        elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
            attribute.i = FLOAT
    return node


def _widened(tensor: TensorProto) -> TensorProto:
    if tensor.data_type != HALF:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name)


def _port(port: ValueInfoProto) -> ValueInfoProto:
    wide = ValueInfoProto()
    wide.CopyFrom(port)
    if wide.type.tensor_type.elem_type == HALF:
        wide.type.tensor_type.elem_type = FLOAT
    return wide
