"""How these tests run `bench`: quickly, and in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from se_deploy.stages.bench import bench
from se_deploy.verify.report import BenchReport


def inside(folder: Path) -> Iterator[Path]:
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def quick(engines: Any = "engine.onnx", **words: Any) -> BenchReport:
    return bench(engines, **{"warmup": 0.0, "duration": 0.02, "threads": 1, **words})


def answers(engine: Path, inputs: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(engine, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": inputs})[0]
