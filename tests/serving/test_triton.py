"""Every kind of repository that `package` writes, on a real Triton Inference Server."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from PIL import Image
from tritonclient.utils import InferenceServerException

from se_deploy import build, client, package
from se_deploy.artifacts import Preprocess
from se_deploy.errors import ServeError
from se_deploy.images import decode, preprocess
from tests.serving import engines
from tests.serving.server import Server, serving
from tests.stages import exports

pytestmark = pytest.mark.slow
MODELS = (
    "small",
    "small_images",
    "small_preprocess",
    "fixed",
    "unlabelled",
    "planned",
    "planned_images",
    "planned_preprocess",
    "odd",
    "half",
    "int8",
)
BGR = Preprocess(
    resize=(40, 36), crop=32, color="BGR", scale=1.0, mean=(91.5, 103.9, 131.1), std=(60.0, 61.0, 62.0), interpolation="bicubic"
)
CLIENTS, SECONDS = 32, 20.0


@dataclass(frozen=True)
class Stage:
    """A started server, the engines behind it, and pictures."""

    server: Server
    engine: Path
    pictures: Path
    others: dict[str, Path]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("served")
    repository = root / "models"
    first = engines.engine(root)
    package(first, triton=repository, ensemble=True)
    package(first, triton=repository, version=2)
    package(engines.engine(root, "fixed", batch=1), triton=repository)
    package(engines.engine(root, "unlabelled", labels=None), triton=repository, max_batch=4, instances=2)
    package(engines.plan(root), triton=repository, ensemble=True)
    package(engines.odd(root / "odd"), triton=repository)
    package(engines.engine(root, "four", batch=4, how=BGR), triton=repository, ensemble=True)
    pictures = exports.pictures(root / "imgs", 12)
    half = build(exports.directory(root, name="half"), fp16=True).output
    quantized = build(exports.directory(root, name="int8"), int8=True, calib=pictures).output
    package(half, triton=repository)
    package(quantized, triton=repository)
    Image.fromarray(np.arange(40 * 37, dtype=np.uint8).reshape(40, 37)).save(pictures / "grey.jpg")
    with serving(repository, strict=True) as server:
        yield Stage(server, first, pictures, {"half": half, "int8": quantized})


def open_client(stage: Stage, protocol: str) -> tuple[ModuleType, object]:
    module = {"http": tritonclient.http, "grpc": tritonclient.grpc}[protocol]
    return module, module.InferenceServerClient(getattr(stage.server, protocol))


def ask(stage: Stage, protocol: str, model: str, name: str, rows: np.ndarray, output: str = "y", **words: object) -> np.ndarray:
    module, connection = open_client(stage, protocol)
    kind = "BYTES" if rows.dtype == object else "FP32"
    feed = module.InferInput(name, list(rows.shape), kind)
    feed.set_data_from_numpy(rows)
    try:
        return connection.infer(model, [feed], **words).as_numpy(output)
    finally:
        connection.close()


@pytest.mark.parametrize("model", MODELS)
def test_every_model_that_we_write_loads(stage: Stage, model: str) -> None:
    assert stage.server.ready(f"models/{model}"), stage.server.log.read_text()[-3000:]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("model", "batch"),
    [("small", 1), ("small", 8), ("small", 32), ("fixed", 1), ("unlabelled", 4), ("planned", 8), ("half", 8), ("int8", 8)],
)
def test_answers_are_onnx_runtimes_own(stage: Stage, protocol: str, model: str, batch: int) -> None:
    rows = np.random.default_rng(batch).standard_normal((batch, 3, 32, 32)).astype(np.float32)
    got = ask(stage, protocol, model, "x", rows)
    assert got.shape == (batch, 10)
    np.testing.assert_allclose(got, engines.session_answers(stage.others.get(model, stage.engine), rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_network_of_two_inputs_and_a_number_for_each_row_answers(stage: Stage, protocol: str) -> None:
    module, connection = open_client(stage, protocol)
    a, b = np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(6).reshape(3, 2)
    feeds = [module.InferInput("a", [3, 4], "FP32"), module.InferInput("b", [3, 2], "INT64")]
    for feed, array in zip(feeds, (a, b), strict=True):
        feed.set_data_from_numpy(array)
    answer = connection.infer("odd", feeds)
    both = a + b.sum(axis=1, keepdims=True)
    assert np.array_equal(answer.as_numpy("both"), both)
    assert np.array_equal(answer.as_numpy("sum").reshape(-1), both.sum(axis=1))
    connection.close()
    with pytest.raises(ServeError, match="model odd takes a TYPE_FP32, b TYPE_INT64, not one image"):
        client(stage.server.http, "odd", stage.pictures)


def test_both_versions_answer(stage: Stage) -> None:
    """Triton serves the newest; a version that is asked for by number and is not served says so."""
    rows = np.zeros((1, 3, 32, 32), np.float32)
    assert ask(stage, "http", "small", "x", rows, model_version="2").shape == (1, 10)
    with pytest.raises(InferenceServerException, match="not found|not at ready state"):
        ask(stage, "http", "small", "x", rows, model_version="1")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("model", ["small_images", "planned_images"])
def test_an_ensemble_takes_encoded_images_and_prepares_them_as_we_do(stage: Stage, protocol: str, model: str) -> None:
    paths = sorted(stage.pictures.iterdir())[-8:]
    encoded = np.array([[path.read_bytes()] for path in paths], dtype=object)
    rows = np.stack([preprocess(decode(path), exports.HOW) for path in paths])
    got = ask(stage, protocol, model, "image", encoded)
    np.testing.assert_allclose(got, engines.session_answers(stage.engine, rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_ensemble_of_a_fixed_batch_takes_exactly_so_many_images(stage: Stage, protocol: str) -> None:
    paths = sorted(stage.pictures.iterdir())[:4]
    encoded = np.array([path.read_bytes() for path in paths], dtype=object)
    rows = np.stack([preprocess(decode(path, "BGR"), BGR) for path in paths])
    expected = np.concatenate([engines.session_answers(stage.engine, row[None]) for row in rows])
    np.testing.assert_allclose(ask(stage, protocol, "four_images", "image", encoded), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(InferenceServerException, match="unexpected shape"):
        ask(stage, protocol, "four_images", "image", encoded[:3])
    for model in ("four", "four_images"):
        with pytest.raises(ServeError, match=f"model {model} takes exactly 4 images at once"):
            client(stage.server.http, model, stage.pictures)


def test_the_preprocessing_model_alone_gives_the_very_same_pixels(stage: Stage) -> None:
    path = stage.pictures / "grey.jpg"
    got = ask(stage, "http", "small_preprocess", "image", np.array([[path.read_bytes()]], dtype=object), output="x")
    assert np.array_equal(got[0], preprocess(decode(path), exports.HOW))


def bomb() -> bytes:
    """A PNG of a few kilobytes that says it holds 400 million pixels."""
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "png")
    return out.getvalue()


@pytest.mark.parametrize(
    "junk", [b"", b"junk", b"\xff\xd8\xff\xe0 cut off", bytes(1 << 20), bomb()], ids=["none", "junk", "cut", "nul", "bomb"]
)
def test_junk_gets_an_error_and_the_server_answers_on(stage: Stage, junk: bytes) -> None:
    with pytest.raises(InferenceServerException, match="image 0 of the request is not a readable image"):
        ask(stage, "http", "small_images", "image", np.array([[junk]], dtype=object))
    good = (stage.pictures / "000.png").read_bytes()
    assert ask(stage, "http", "small_images", "image", np.array([[good]], dtype=object)).shape == (1, 10)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("shape", [(1, 3, 31, 32), (1, 1, 32, 32), (33, 3, 32, 32), (3, 32, 32)])
def test_wrong_shapes_are_refused_and_the_server_answers_on(stage: Stage, protocol: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InferenceServerException, match="unexpected shape|batch-size must be"):
        ask(stage, protocol, "small", "x", np.zeros(shape, np.float32))
    assert ask(stage, protocol, "small", "x", np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 10)


def test_32_clients_at_once_lose_no_answer(stage: Stage) -> None:
    """Each asks for 20 seconds with rows of its own and holds every answer against what is right."""
    rows = np.random.default_rng(0).standard_normal((CLIENTS, 1, 3, 32, 32)).astype(np.float32)
    right = [engines.session_answers(stage.engine, row) for row in rows]
    counts, faults = [0] * CLIENTS, []
    until = time.monotonic() + SECONDS

    def work(number: int) -> None:
        connection = tritonclient.grpc.InferenceServerClient(stage.server.grpc)
        feed = tritonclient.grpc.InferInput("x", [1, 3, 32, 32], "FP32")
        feed.set_data_from_numpy(rows[number])
        try:
            while time.monotonic() < until:
                got = connection.infer("small", [feed], client_timeout=30).as_numpy("y")
                if not np.allclose(got, right[number], rtol=1e-5, atol=1e-5):
                    faults.append(f"client {number} got another's answer")
                counts[number] += 1
        except InferenceServerException as error:
            faults.append(f"client {number}: {error}")
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert min(counts) > 0
    statistics = tritonclient.http.InferenceServerClient(stage.server.http).get_inference_statistics("small", "2")["model_stats"][0]
    assert statistics["inference_stats"]["success"]["count"] >= sum(counts)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("model", ["small", "small_images", "fixed", "planned_images"])
def test_the_client_prints_the_classes_that_we_find_ourselves(stage: Stage, protocol: str, model: str) -> None:
    heard: list[tuple[int, int | None]] = []
    report = client(
        f"{protocol}://{getattr(stage.server, protocol)}",
        model,
        stage.pictures,
        top=3,
        progress=lambda _, done, of: heard.append((done, of)),
    )
    paths = sorted(stage.pictures.iterdir())
    scores = engines.session_answers(stage.engine, np.stack([preprocess(decode(path), exports.HOW) for path in paths]))
    assert [answer.file for answer in report.answers] == [path.name for path in paths]
    for answer, row in zip(report.answers, scores, strict=True):
        best = np.argsort(-row)[:3]
        assert [guess.index for guess in answer.classes] == list(best)
        assert [guess.label for guess in answer.classes] == [engines.LABELS[index] for index in best]
        np.testing.assert_allclose([guess.score for guess in answer.classes], row[best], rtol=1e-4)
    assert heard[-1] == (13, 13)
    assert len(heard) == (13 if model == "fixed" else 2)


def test_the_client_tells_classes_without_labels_by_number(stage: Stage) -> None:
    report = client(stage.server.http, "unlabelled", stage.pictures / "000.png")
    assert report.answers[0].classes[0].label is None


def test_the_client_passes_over_images_that_cannot_be_read(stage: Stage, tmp_path: Path) -> None:
    pictures = exports.pictures(tmp_path, 3)
    (pictures / "001.png").write_bytes(b"junk")
    for model in ("small", "small_images"):
        report = client(stage.server.http, model, pictures)
        assert [answer.file for answer in report.answers] == ["000.png", "002.png"]
        assert list(report.skipped) == ["001.png"]


@pytest.mark.parametrize(
    ("model", "words", "said"),
    [
        ("nope", {}, "unknown model: 'nope'"),
        ("small_preprocess", {}, "no output of model small_preprocess is a vector of class scores"),
        ("small", {"batch": 33}, "takes at most 32 image"),
    ],
)
def test_the_client_says_what_it_cannot_ask(stage: Stage, model: str, words: dict[str, int], said: str) -> None:
    with pytest.raises(ServeError, match=said):
        client(stage.server.http, model, stage.pictures, **words)
