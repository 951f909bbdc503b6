"""What a checkpoint says about itself besides its weights: architecture, preprocessing, class names."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from se_deploy.artifacts import Interpolation

#: Fields in which other fields lie: the nearer to the weights' own description, the earlier.
_NESTED = ("pretrained_cfg", "default_cfg", "meta", "metadata", "hyper_parameters", "hparams", "config", "cfg", "args", "opt")
_ARCH = ("arch", "architecture", "model_name", "arch_name", "model")
_LABELS = ("labels", "class_names", "classes", "idx_to_class", "class_to_idx")


@dataclass(frozen=True)
class Said:
    """What a checkpoint says; None where it says nothing.

    `size` is (height, width), `crop` the share of the resized short side that the crop takes.
    """

    arch: str | None = None
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: Interpolation | None = None
    crop: float | None = None
    labels: tuple[str, ...] | None = None


def said(fields: Mapping[str, Any]) -> Said:
    """Reads the fields that lay beside the weights; those at the top are believed before those in a configuration."""
    layers = [fields, *_nested(fields)]
    return Said(
        arch=next((value for layer in layers for key in _ARCH if isinstance(value := layer.get(key), str) and value), None),
        size=_first(layers, ("input_size", "img_size", "image_size"), _size),
        mean=_first(layers, ("mean",), _numbers),
        std=_first(layers, ("std",), _deviations),
        interpolation=_first(layers, ("interpolation",), lambda value: value if value in get_args(Interpolation) else None),
        crop=_first(layers, ("crop_pct",), lambda value: value if isinstance(value, float | int) and 0 < value <= 1 else None),
        labels=_first(layers, _LABELS, _labels),
    )


def _nested(fields: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in _NESTED:
        inner = _mapping(fields.get(key))
        if inner is not None:
            yield inner
            yield from _nested(inner)


def _mapping(value: Any) -> Mapping[str, Any] | None:
    """A dict, the attributes of a namespace or a dataclass, or the JSON that safetensors' metadata holds; None of anything else."""
    if isinstance(value, str):
        value = _parsed(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return vars(value)
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if isinstance(key, str)}
    held = getattr(value, "__dict__", None)
    return held if isinstance(held, dict) else None


def _first(layers: list[Mapping[str, Any]], keys: tuple[str, ...], read: Any) -> Any:
    """The first value under any of `keys` that `read` makes sense of."""
    for layer in layers:
        for key in keys:
            value = _parsed(layer.get(key)) if key != "interpolation" else layer.get(key)
            if value is not None and (found := read(value)) is not None:
                return found
    return None


def _parsed(value: Any) -> Any:
    """safetensors' metadata holds text alone: lists and numbers are JSON in it."""
    if not isinstance(value, str):
        return value.tolist() if hasattr(value, "tolist") else value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _numbers(value: Any) -> tuple[float, ...] | None:
    values = value if isinstance(value, list | tuple) else [value]
    if not values or not all(isinstance(v, float | int) and math.isfinite(v) for v in values):
        return None
    return tuple(float(v) for v in values)


def _deviations(value: Any) -> tuple[float, ...] | None:
    found = _numbers(value)
    return found if found and all(v > 0 for v in found) else None


def _size(value: Any) -> tuple[int, int] | None:
    sizes = [value, value] if isinstance(value, int) else list(value)[-2:] if isinstance(value, list | tuple) else []
    return (sizes[0], sizes[1]) if len(sizes) == 2 and all(isinstance(v, int) and v > 0 for v in sizes) else None


def _labels(value: Any) -> tuple[str, ...] | None:
    """Names in a list, under their indices, or with their indices."""
    if isinstance(value, Mapping) and value:
        pairs = [(v, k) if isinstance(v, int) else (k, v) for k, v in value.items()]
        try:
            ordered = sorted((int(index), str(label)) for index, label in pairs)
        except (TypeError, ValueError):
            return None
        return tuple(label for _, label in ordered) if [i for i, _ in ordered] == list(range(len(ordered))) else None
    if isinstance(value, list | tuple) and value and all(isinstance(v, str) for v in value):
        return tuple(value)
    return None
