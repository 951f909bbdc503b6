"""What a run over some of the images saw, as a file: to go on after a kill, and to join what several machines saw.

The file is safetensors: for each calibrated tensor the counts of its histogram, those before the first and after the last that is not 0
left out; for each tensor whose channels may be equalised the ranges and counts of its channels (`channels/KEY/TENSOR`); in the
metadata, under `tally`, JSON with everything else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from se_deploy import files
from se_deploy.artifacts import FORMAT, Preprocess, Record
from se_deploy.errors import QuantError
from se_deploy.quant.channels import COARSE, Channels
from se_deploy.quant.histogram import BINS, LEAST, Histogram
from se_deploy.quant.observe import Observer
from se_deploy.quant.repairs import Equalisable, watched

#: The arrays of a tensor's channels.
KEYS = {"low": np.float32, "high": np.float32, "exponents": np.int64, "counts": np.int64}


class Job(Record):
    """What is measured on what: tallies of different jobs are not joined. `listed` hashes the names of the `total` images in order.

    `candidates` are the tensors that may be equalised; `held` names the images that are not measured, because they judge.
    """

    graph: str
    preprocess: Preprocess
    name: str
    se_blocks: int
    total: int = Field(ge=1)
    listed: str
    tensors: tuple[str, ...]
    candidates: tuple[Equalisable, ...] = ()
    held: tuple[str, ...] = ()


class _Range(Record):
    """An observer without its counts; None stands for the range of a tensor without finite values. `first` is the first count's place."""

    min: float | None
    max: float | None
    nonfinite: int = Field(ge=0)
    exponent: int = Field(ge=LEAST, le=128)
    first: int = Field(ge=0)


class _Header(Record):
    format: Literal[1] = FORMAT
    job: Job
    used: dict[int, str]
    skipped: dict[int, str]
    ranges: dict[str, _Range]


class Tally:
    """Observers, and which images they saw: `used` has the SHA-256 and `skipped` the reason for each, by the place in the job's list."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.used: dict[int, str] = {}
        self.skipped: dict[int, str] = {}
        self.observers = {name: Observer() for name in job.tensors}
        self.channels = {name: Channels() for name in watched(job.candidates)}

    @property
    def done(self) -> set[int]:
        """The places of the images that need not be looked at again."""
        return {*self.used, *self.skipped}

    def merge(self, other: Tally) -> None:
        """Takes in what another run of the same job saw of other images."""
        self.used |= other.used
        self.skipped |= other.skipped
        for name, observer in self.observers.items():
            observer.merge(other.observers[name])
        for name, channels in self.channels.items():
            channels.merge(other.channels[name])

    def write(self, path: Path) -> None:
        """Writes the file whole or not at all."""
        arrays, ranges = {}, {}
        for name, seen in self.observers.items():
            counts, finite = seen.histogram.counts, seen.min <= seen.max
            there = counts.nonzero()[0]
            first, last = (int(there[0]), int(there[-1])) if there.size else (0, -1)
            arrays[name] = counts[first : last + 1]
            limits = (seen.min, seen.max) if finite else (None, None)
            ranges[name] = _Range(min=limits[0], max=limits[1], nonfinite=seen.nonfinite, exponent=seen.histogram.exponent, first=first)
        for name, channels in self.channels.items():
            arrays |= {f"channels/{key}/{name}": getattr(channels, key) for key in KEYS}
        header = _Header(job=self.job, used=self.used, skipped=self.skipped, ranges=ranges)
        with files.replacing(path) as beside:
            save_file(arrays, beside, {"tally": header.model_dump_json()})


def read(path: Path) -> Tally:
    """Reads what `Tally.write` wrote.

    Raises:
        QuantError: it is missing, or not such a file.
    """
    broken = QuantError(f"{path} is no histogram file", "write it with `se-deploy calibrate --shard I/N`")
    if not path.is_file():
        raise QuantError(f"no file {path}", "write it with `se-deploy calibrate --shard I/N`")
    try:
        with safe_open(path, "numpy") as opened:
            header = _Header.model_validate_json((opened.metadata() or {}).get("tally", ""))
            tally = Tally(header.job)
            wanted = {*header.job.tensors, *(f"channels/{key}/{name}" for name in tally.channels for key in KEYS)}
            if set(header.ranges) != set(header.job.tensors) or set(opened.keys()) != wanted:
                raise broken
            tally.used, tally.skipped = header.used, header.skipped
            tally.observers = {name: _observer(header.ranges[name], opened.get_tensor(name)) for name in header.job.tensors}
            for name in tally.channels:
                tally.channels[name] = _channels({key: opened.get_tensor(f"channels/{key}/{name}") for key in KEYS})
    except (SafetensorError, ValidationError, OSError, ValueError) as error:
        raise broken from error
    return tally


def _observer(range_: _Range, counts: Any) -> Observer:
    """An observer from its two parts.

    Raises:
        ValueError: they do not fit.
    """
    histogram = Histogram(range_.exponent)
    if counts.ndim != 1 or counts.dtype != np.int64 or range_.first + counts.size > 2 * BINS + 1 or (counts < 0).any():
        raise ValueError("counts of another histogram")
    histogram.counts[range_.first : range_.first + counts.size] = counts
    low, high = range_.min, range_.max
    return Observer(math.inf if low is None else low, -math.inf if high is None else high, range_.nonfinite, histogram)


def _channels(arrays: dict[str, Any]) -> Channels:
    """Channels from their arrays.

    Raises:
        ValueError: they do not fit.
    """
    count = len(arrays["low"])
    shapes = {"low": (count,), "high": (count,), "exponents": (count,), "counts": (count, COARSE)}
    if any(arrays[key].shape != shapes[key] or arrays[key].dtype != KEYS[key] for key in KEYS) or (arrays["counts"] < 0).any():
        raise ValueError("channels of another kind")
    return Channels(**arrays)


def join(tallies: Sequence[tuple[Path, Tally]]) -> Tally:
    """One tally of all images from those of shards.

    Raises:
        QuantError: they are of different jobs, an image is in two, or in none.
    """
    first, start = tallies[0]
    whole = Tally(start.job)
    for path, tally in tallies:
        for key in Job.model_fields:
            if getattr(tally.job, key) != getattr(whole.job, key):
                what = {"listed": "images", "total": "images", "preprocess": "preprocessing"}.get(key, key)
                raise QuantError(f"{first} and {path} are of different runs: their {what} differ", "merge the shards of one run")
        if whole.done & tally.done:
            raise QuantError(f"{path} holds images that another file holds too", "name each shard once")
        whole.merge(tally)
    missing = whole.job.total - len(whole.done)
    if missing:
        raise QuantError(f"{missing} of {whole.job.total} images are in none of the files", "name every shard of the run")
    return whole


def listed(names: Sequence[str]) -> str:
    """SHA-256 of a list of names."""
    return files.sha256_text(json.dumps(list(names)))
