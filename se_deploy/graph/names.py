"""Nodes named by the module they came from (`layer3.2.se.fc1/Conv`), and files that hold no path of the user's machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

Documented = ModelProto | GraphProto | FunctionProto | NodeProto | TensorProto | ValueInfoProto

_SCOPES = "pkg.torch.onnx.name_scopes"

#: torch.export marks the second call of a module `relu@1`.
_CALL = re.compile(r"@\d+")

#: An absolute, home-relative, Windows or network path, or a source file; words such as "N/A" or "1/16" are none.
_PATH = re.compile(r"""(?:^|[\s"'(=:,\[])(?:~?/[\w.@+-]+/|~/|[A-Za-z]:[\\/]|\\\\)|\.py\b|file://""")

#: Operators whose second input is a module's weight. Folding a BatchNorm makes dynamo say that a convolution is the BatchNorm's.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def name_by_module(model: ModelProto) -> None:
    """Names every node `<module path>/<op>`, uniquely, and takes out what exporters wrote about the user's machine. In place.

    The module is read from dynamo's scopes, TorchScript's names (`/layer1/layer1.0/se/fc1/Conv`), or, for a node that has neither,
    its weight's name; other nodes keep theirs. Nodes, values and weights lose their doc strings and metadata (stack traces, scopes);
    the model and its graph lose only those that hold a path. Tensors keep their names. Doing it twice changes nothing more.
    """
    taken: set[str] = set()
    weights = {i.name for i in model.graph.initializer}
    for node in _nodes(model.graph):
        node.name = _unique(_wanted(node, weights), taken)
    _strip_paths(model)
    _strip_paths(model.graph)
    for function in model.functions:
        _strip([function, *function.value_info])
        _strip_nodes(function.node)
    _strip_graph(model.graph)


def module_of(node: NodeProto) -> str | None:
    """The path of the module that a node came from (`layer3.2.se`), "" for the network itself; None where the file does not say."""
    scope = _scope(node)
    if scope is not None:
        return scope
    name = _from_torchscript(node.name) if node.name.startswith("/") else node.name
    module, slash, _ = name.rpartition("/")
    return module if slash else None


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """A graph's nodes and those of its subgraphs."""
    for node in graph.node:
        yield node
        for subgraph in _subgraphs(node):
            yield from _nodes(subgraph)


def _subgraphs(node: NodeProto) -> list[GraphProto]:
    return [g for a in node.attribute for g in ([a.g] if a.HasField("g") else a.graphs)]


def _wanted(node: NodeProto, weights: set[str]) -> str:
    """The name a node should have."""
    scope = _scope(node)
    if scope is None and node.name.startswith("/"):
        return _from_torchscript(node.name)
    generic = re.fullmatch(rf"(?:{node.op_type})?_?\d*", node.name) is not None
    if scope is None and not generic:
        return node.name
    module = _weight_owner(node, weights) or scope
    if module is None:
        return node.name or node.op_type
    return f"{module}/{node.op_type}" if module else node.op_type


def _scope(node: NodeProto) -> str | None:
    """The deepest module of dynamo's scopes, "" for the network itself; the last scope is the operation."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = ["", *map(str, ast.literal_eval(entry.value)[:-1])]
            return _CALL.sub("", scopes[-1])
    return None


def _from_torchscript(name: str) -> str:
    """`/layer1/layer1.0/se/fc1/Conv` is `layer1.0.se.fc1/Conv`: a container's child repeats the container's name."""
    *scopes, leaf = name.removeprefix("/").split("/")
    module, previous = "", ""
    for scope in scopes:
        if previous and scope.startswith(f"{previous}."):
            module = module.removesuffix(previous) + scope
        else:
            module = f"{module}.{scope}" if module else scope
        previous = scope
    return f"{module}/{leaf}" if module else leaf


def _weight_owner(node: NodeProto, weights: set[str]) -> str | None:
    """The module whose weight a convolution or FC reads."""
    if node.op_type in _WEIGHTED and len(node.input) > 1 and node.input[1] in weights and node.input[1].endswith(".weight"):
        return str(node.input[1].removesuffix(".weight"))
    return None


def _unique(name: str, taken: set[str]) -> str:
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _strip_graph(graph: GraphProto) -> None:
    _strip([*graph.initializer, *graph.value_info, *graph.input, *graph.output])
    _strip_nodes(graph.node)


def _strip_nodes(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        _strip([node])
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            _strip([attribute.t] if attribute.HasField("t") else attribute.tensors)
        for subgraph in _subgraphs(node):
            _strip([subgraph])
            _strip_graph(subgraph)


def _strip(protos: Iterable[Documented]) -> None:
    for proto in protos:
        proto.ClearField("doc_string")
        proto.ClearField("metadata_props")


def _strip_paths(proto: ModelProto | GraphProto) -> None:
    """Keeps what a user may have written, unless it holds a path."""
    if _PATH.search(proto.doc_string):
        proto.ClearField("doc_string")
    kept = [entry for entry in proto.metadata_props if not _PATH.search(entry.value) and not _PATH.search(entry.key)]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
