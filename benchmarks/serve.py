"""Throughput of a packaged model on a real Triton, against ONNX Runtime in this process, in one run.

    python benchmarks/serve.py [ENGINE] [--seconds 5] [--clients 1 8 32]

ENGINE is an engine.onnx; left out, a small SE network is built. The server is the tests' (tests/serving): a real tritonserver on the CPU,
whose onnxruntime backend is a stand-in in Python, so the figures are of the front end, its batching and the way there and back, not of
NVIDIA's own backend. Server, clients and the process share this machine's cores.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import tritonclient.grpc
from numpy.typing import NDArray
from PIL import Image

from se_deploy import artifacts, package
from se_deploy.artifacts import EngineManifest
from se_deploy.backends.onnxruntime import OnnxRuntime
from se_deploy.deploy.sample import SIZE
from tests.serving import engines
from tests.serving.server import serving

Ask = Callable[[], object]


def rate(make: Callable[[], Ask], clients: int, seconds: float) -> tuple[float, float]:
    """Answers a second from so many callers at once, and the median of their waits in milliseconds."""
    until, waits = time.monotonic() + seconds, [list[float]() for _ in range(clients)]

    def work(number: int) -> None:
        ask = make()
        ask()
        while time.monotonic() < until:
            started = time.perf_counter()
            ask()
            waits[number].append(time.perf_counter() - started)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [wait for one in waits for wait in one]
    return len(every) / seconds, 1000 * float(np.median(every))


def over_grpc(address: str, model: str, name: str, rows: NDArray[np.generic]) -> Callable[[], Ask]:
    """Clients that send the same rows again and again."""
    kind = "BYTES" if rows.dtype == object else "FP32"

    def make() -> Ask:
        connection = tritonclient.grpc.InferenceServerClient(address)
        feed = tritonclient.grpc.InferInput(name, list(rows.shape), kind)
        feed.set_data_from_numpy(rows)
        return lambda: connection.infer(model, [feed])

    return make


def photograph() -> NDArray[np.generic]:
    """One JPEG of 501 x 375 pixels, as an ensemble takes it."""
    out = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1] // 8, SIZE[0] // 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(SIZE).save(out, "jpeg")
    return np.array([[out.getvalue()]], dtype=object)


def main() -> None:
    """Prints a line for each way of asking."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("engine", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = words.engine or engines.engine(Path(folder))
        repository = Path(folder) / "models"
        package(engine, triton=repository, name="network", ensemble=True)
        spec = artifacts.read(EngineManifest, Path(f"{engine}.json")).inputs[0]
        row = np.random.default_rng(0).standard_normal((1, *spec.opt[1:])).astype(np.float32)
        with serving(repository) as server, OnnxRuntime().open(engine, threads=1) as session:
            print(f"{engine.name}: input {list(spec.shape)}; {words.seconds:g} s each")
            alone, wait = rate(lambda: lambda: session.run({spec.name: row}), 1, words.seconds)
            print(f"ONNX Runtime in this process, 1 thread    {alone:9.1f} rows/s   p50 {wait:7.2f} ms")
            for clients in words.clients:
                for model, name, rows in (("network", spec.name, row), ("network_images", "image", photograph())):
                    served, wait = rate(over_grpc(server.grpc, model, name, rows), clients, words.seconds)
                    what = "rows" if model == "network" else "JPEG"
                    share = f"{served / alone:5.2f}x"
                    print(f"Triton by gRPC, {what}, {clients:3} client(s)         {served:9.1f} rows/s   p50 {wait:7.2f} ms   {share}")


if __name__ == "__main__":
    main()
