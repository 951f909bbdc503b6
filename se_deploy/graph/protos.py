"""Copies of models that leave out what is going to be replaced, so that weights are copied once at most."""

from __future__ import annotations

from collections.abc import Collection

from onnx import GraphProto, ModelProto


def copied(model: ModelProto, without: Collection[str] = ()) -> ModelProto:
    """A copy of a model, without the graph's fields that are named."""
    new = ModelProto()
    _copy(model, new, ("graph",))
    _copy(model.graph, new.graph, without)
    return new


def _copy(source: ModelProto | GraphProto, target: ModelProto | GraphProto, without: Collection[str]) -> None:
    for field, value in source.ListFields():
        if field.name in without:
            continue
        if isinstance(value, (int, float, str, bytes)):
            setattr(target, field.name, value)
        else:
            getattr(target, field.name).MergeFrom(value)
