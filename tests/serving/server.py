"""A real tritonserver on loopback ports, for as long as a `with` block runs."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.serving import environment

READY = 60.0


@dataclass(frozen=True)
class Server:
    """A started server: where it answers, and what it says."""

    http: str
    grpc: str
    log: Path

    def ready(self, path: str = "") -> bool:
        """Whether the server, or the model whose path under /v2/ is given, says that it is ready."""
        try:
            with urllib.request.urlopen(f"http://{self.http}/v2/{path or 'health'}/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def without_gpu(repository: Path) -> None:
    """Gives every model whose instances want a GPU a second configuration, for a machine that has none; the first stays as it is."""
    for config in repository.glob("*/config.pbtxt"):
        text = config.read_text().replace("KIND_GPU", "KIND_CPU")
        (config.parent / "configs").mkdir(exist_ok=True)
        (config.parent / "configs" / "cpu.pbtxt").write_text(text)


@contextmanager
def serving(repository: Path, *, strict: bool = False) -> Iterator[Server]:
    """Starts a server on `repository`, waits until it is ready, and stops it; `strict` ends it where a model does not load."""
    venv = environment.made()
    without_gpu(repository)
    with tempfile.TemporaryDirectory() as scratch:
        backends = environment.backends(venv, Path(scratch) / "backends")
        http, grpc, log = free_port(), free_port(), Path(scratch) / "log"
        words = [
            str(environment.packages(venv) / "pytriton/tritonserver/bin/tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={backends}",
            "--http-address=127.0.0.1",
            f"--http-port={http}",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={grpc}",
            "--allow-metrics=false",
            f"--exit-on-error={str(strict).lower()}",
            "--strict-readiness=false",
            "--model-config-name=cpu",
        ]
        with log.open("wb") as out:
            process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=environment.variables(venv), cwd=scratch)
        server = Server(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", log)
        try:
            _wait(process, server)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], server: Server) -> None:
    until = time.monotonic() + READY
    while not server.ready():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"tritonserver is not ready (exit code {process.poll()}):\n{server.log.read_text()[-4000:]}")
        time.sleep(0.1)


def copied(repository: Path, target: Path) -> Path:
    """A copy of a repository, for a test that changes it."""
    return Path(shutil.copytree(repository, target))
