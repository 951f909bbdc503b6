"""Scales belong to the graph and the preprocessing they were measured with, and are refused for others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from se_deploy import artifacts
from se_deploy.artifacts import Preprocess, Scales
from se_deploy.errors import ArtifactError, QuantError

REMEDY = "run `se-deploy calibrate` for this model"


def read(path: Path) -> Scales:
    """Reads a scale file.

    Raises:
        QuantError: it is missing or not of this format.
    """
    try:
        return artifacts.read(Scales, path)
    except ArtifactError as error:
        raise QuantError(error.message, REMEDY) from error


def check(scales: Scales, path: Path, *, graph: str, preprocess: Preprocess) -> None:
    """Refuses scales (read from `path`) of another graph, given by its SHA-256, or of another preprocessing.

    Raises:
        QuantError: they are another's; names both.
    """
    if scales.graph != graph:
        raise QuantError(f"{path} holds scales of the graph {scales.graph[:12]}, the model is {graph[:12]}", REMEDY)
    differ = [key for key in Preprocess.model_fields if getattr(scales.preprocess, key) != getattr(preprocess, key)]
    if differ:
        theirs = ", ".join(f"{key}={getattr(scales.preprocess, key)}" for key in differ)
        ours = ", ".join(f"{key}={getattr(preprocess, key)}" for key in differ)
        raise QuantError(f"{path} was measured on images with {theirs}, the model takes {ours}", REMEDY)


def fingerprint(images: Iterable[str]) -> str:
    """SHA-256 over the SHA-256 (hex) of each image file, in the order given; names and folders do not count."""
    whole = hashlib.sha256()
    for digest in images:
        whole.update(bytes.fromhex(digest))
    return whole.hexdigest()
