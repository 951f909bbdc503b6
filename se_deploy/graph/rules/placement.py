"""The gate scales the map that was pooled, along its channels, and nothing else reads what lies between."""

from __future__ import annotations

from onnx import TensorProto

from se_deploy.graph.canonical import Candidate, Canonical
from se_deploy.graph.forms import Pool
from se_deploy.graph.pools import MapRef, resolve
from se_deploy.graph.rules import Miss
from se_deploy.graph.view import Node, View


def check(form: Canonical, candidate: Candidate, pool: Pool) -> Miss | None:
    """Why a block cannot be taken out of its place; None where it can."""
    view = form.view
    ref = resolve(view, candidate.map)
    if pool.kind != "mean":
        return Miss(f"pool-{pool.kind}")
    if not pool.is_global:
        return Miss("pool-partial")
    if ref is None or ref.root != pool.map:
        return Miss("other-tensor", f"{pool.map} is pooled, {candidate.map} is scaled")
    if not _is_along_channels(view, candidate, pool, ref):
        return Miss("other-axis")
    if candidate.vector.expanded and not _keeps_shape(view, candidate):
        return Miss("other-shape")
    if view.elem_type(candidate.map) == TensorProto.DOUBLE:
        return Miss("double-precision")
    return _shared(form, candidate, pool)


def pool_of(form: Canonical, candidate: Candidate, pool: Pool) -> Pool:
    """The pool, of the map that is scaled where a mean of means is that of two maps."""
    ref = resolve(form.view, candidate.map)
    return pool.inner if pool.inner is not None and ref is not None and ref.root == pool.inner.map else pool


def channel_axis(view: View, name: str, pool: Pool) -> int | None:
    """Which axis of the tensor `name`, which shows the pooled map, holds the channels."""
    ref = resolve(view, name)
    group = (pool.kept[1],)
    return ref.axes.index(group) if ref is not None and group in ref.axes else None


def _is_along_channels(view: View, candidate: Candidate, pool: Pool, ref: MapRef) -> bool:
    """Whether batch and channels of the gate meet those of the map; axes are matched from the last."""
    labels = candidate.vector.labels
    rank = len(ref.axes)
    if len(labels) > rank:
        return False
    names: dict[tuple[int, ...], str] = {(0,): "N", (pool.kept[1],): "C"}
    wanted = tuple(names.get(group, "1") for group in ref.axes)
    given = ("1",) * (rank - len(labels)) + labels
    shape = view.shape(candidate.map) or (None,) * rank
    channels_fit = wanted.index("C") in (1, rank - 1) and wanted[0] == "N"
    return channels_fit and all(g == w or (g == "1" and shape[i] == 1) for i, (g, w) in enumerate(zip(given, wanted, strict=True)))


def _keeps_shape(view: View, candidate: Candidate) -> bool:
    """Whether the product is like the map, though the gate was expanded: by the Shape of that map, or by inference."""
    shape, product = view.shape(candidate.map), view.shape(candidate.mul.outputs[0])
    if shape is not None and shape == product and None not in shape:
        return True
    return any(_expands_to(view, node, candidate.map) for node in _between(view, candidate.gate))


def _between(view: View, name: str) -> list[Node]:
    """The nodes straight above a tensor that only hand it on."""
    above = []
    while (node := view.producer.get(name)) is not None and (view.is_same(node) or node.op in ("Expand", "Reshape", "Unsqueeze")):
        above.append(node)
        name = node.inputs[0]
    return above


def _expands_to(view: View, node: Node, name: str) -> bool:
    shaper = view.producer.get(node.input(1))
    if node.op != "Expand" or shaper is None or shaper.op != "Shape" or shaper.attributes:
        return False
    a, b = resolve(view, shaper.inputs[0]), resolve(view, name)
    return a is not None and a == b


def _shared(form: Canonical, candidate: Candidate, pool: Pool) -> Miss | None:
    """Who else reads a vector of the block. A Shape node reads no numbers."""
    inside = block_nodes(form, candidate, pool)
    for node in inside:
        for output in node.outputs:
            readers = [r for r in form.view.consumers.get(output, []) if r not in inside and r is not candidate.mul and r.op != "Shape"]
            if readers or output in form.view.outputs:
                return Miss(_which(form, candidate, output), readers[0].name if readers else "the graph's output")
    return None


def block_nodes(form: Canonical, candidate: Candidate, pool: Pool) -> dict[Node, None]:
    """The nodes from the pool to the gate, in the order in which they were met, from the gate up."""
    inside: dict[Node, None] = {}
    waiting = [candidate.gate]
    while waiting:
        name = waiting.pop()
        node = form.view.producer.get(name)
        if node is None or node in inside or name not in form.vectors or _shows(form.view, name, pool.map):
            continue
        inside[node] = None
        waiting.extend(node.inputs)
    return inside


def _shows(view: View, name: str, root: str) -> bool:
    ref = resolve(view, name)
    return ref is not None and ref.root == root


def _which(form: Canonical, candidate: Candidate, output: str) -> str:
    vector = form.vectors[output]
    if isinstance(vector.base, Pool):
        return "pooled-shared"
    same = vector.base is candidate.vector.base and vector.curve is candidate.vector.curve
    return "gate-shared" if same else "hidden-shared"
