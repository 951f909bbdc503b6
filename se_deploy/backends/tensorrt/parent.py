"""Runs the process that builds: relays its progress, ends it when the user does, and makes one sentence of whatever it dies of."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from se_deploy.artifacts import Progress
from se_deploy.backends.tensorrt.flavours import Flavour
from se_deploy.backends.tensorrt.job import Job
from se_deploy.errors import BackendError, CheckFailed, SeDeployError

#: Seconds that a process has to end after SIGTERM.
_GRACE = 5
#: Names in a message; the rest is counted.
_NAMED = 8

CHILD = "se_deploy.backends.tensorrt.child"


@dataclass(frozen=True)
class Outcome:
    """What a build that went well tells."""

    plugin_layers: int
    warnings: tuple[str, ...]


def run(job: Job, flavour: Flavour, progress: Progress) -> Outcome:
    """Builds in a process of its own.

    Raises:
        BackendError: TensorRT refuses the plugin or the model, or the process died.
        CheckFailed: fewer plugin layers than SqueezeExcite nodes.
        OSError: the engine could not be written.
    """
    with tempfile.TemporaryDirectory(prefix="se-deploy-") as folder, flavour.environment() as added:
        told, log = Path(folder, "job.json"), Path(folder, "log")
        job.write(told)
        with log.open("wb") as noise, _started(told, os.environ | added, noise) as (process, events):
            last, phase = _relay(events, flavour, progress)
            code = process.wait()
        if last is not None and last["event"] == "failed":
            raise _failure(last, job, flavour)
        if last is None or code != 0:
            raise _death(code, phase, log.read_text(errors="replace"), flavour)
        return Outcome(last["plugin_layers"], tuple(last["warnings"]))


@contextmanager
def _started(told: Path, environment: dict[str, str], noise: IO[bytes]) -> Iterator[tuple[subprocess.Popen[bytes], IO[str]]]:
    """The process and what it tells; it is ended when the block is left early."""
    reader, writer = os.pipe()
    try:
        words = [sys.executable, "-P", "-m", CHILD, str(told), str(writer), str(os.getpid())]
        # A session of its own: a terminal's Ctrl-C is for this process, TensorRT would swallow it.
        process = subprocess.Popen(
            words, env=environment, pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=noise, stderr=noise, start_new_session=True
        )
    finally:
        os.close(writer)
    try:
        with os.fdopen(reader) as events:
            yield process, events
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _relay(events: IO[str], flavour: Flavour, progress: Progress) -> tuple[dict[str, Any] | None, str]:
    """Passes progress on until the process ends: its last word (None where it has none), and what it was doing."""
    last, phase = None, "start"
    for line in events:
        event = json.loads(line)
        if event["event"] == "phase":
            phase = event["name"]
            progress(f"{phase} ({flavour.label})", 0, None)
        elif event["event"] == "progress":
            progress(f"{phase} ({flavour.label})", event["done"], event["total"])
        else:
            last = event
    return last, phase


def _failure(event: dict[str, Any], job: Job, flavour: Flavour) -> SeDeployError | OSError:
    """The sentence for what the process told."""
    text, file = event["text"], Path(job.plugin or "").name
    match event["kind"]:
        case "library":
            return BackendError(f"{flavour.label} does not take the plugin library {file}: {text}", "run `se-deploy plugin build`")
        case "creator":
            return BackendError(f"the plugin library {file} has no creator for {text}", "it is older: run `se-deploy plugin build`")
        case "layers":
            return CheckFailed(
                f"{flavour.label} took the plugin for {text} SE blocks of {job.shown}; not for {_listed(event['nodes'])}",
                "--plugin off builds without it",
            )
        case "write":
            return OSError(event["errno"], text, event["file"])
        case "parse":
            return BackendError(f"{flavour.label} cannot parse {job.shown}{_at(event, job)}: {text}", "export it with --opset 17 or later")
    return BackendError(
        f"{flavour.label} cannot build {job.shown}: {text}", "check it with `se-deploy inspect`, or try smaller --shapes or --plugin off"
    )


def _at(event: dict[str, Any], job: Job) -> str:
    """Where in the model."""
    node, kind = event.get("node") or "", event.get("operator") or ""
    if not node:
        return ""
    return f" at the SE block {node}" if node in dict(job.nodes) else f" at node {node} ({kind})"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _death(code: int, phase: str, log: str, flavour: Flavour) -> Exception:
    """What to say of a process that ended without a word."""
    if code > 0:
        return RuntimeError(f"the process that builds failed to {phase}:\n{log}")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    said = f": {lines[-1]}" if lines else ""
    hint = {
        "load the plugin": "run `se-deploy plugin build`, or add --plugin off",
        "build the engine": "is there enough memory? try --shapes with smaller sizes",
    }
    return BackendError(f"{flavour.label} was killed ({name}) while it was to {phase}{said}", hint.get(phase, "try --plugin off"))
