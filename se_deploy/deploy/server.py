"""A model on a running Triton, asked over HTTP or gRPC for the best classes of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.artifacts import Preprocess, Record
from se_deploy.errors import ImageError, ServeError
from se_deploy.images import check_sane

#: Input types of NumPy arrays, by Triton's name in a configuration.
_PICTURES, _BYTES = "TYPE_FP32", "TYPE_STRING"


class Guess(Record):
    """One of the best classes of an image; `label` is None where the model has no labels."""

    index: int
    label: str | None
    score: float


class Refused(Exception):
    """What the server said to one request."""


@dataclass(frozen=True)
class Model:
    """A model as its configuration describes it."""

    name: str
    input: str
    output: str
    max_batch: int
    #: None where the model takes encoded images.
    preprocess: Preprocess | None
    #: (channels, height, width), -1 where dynamic; empty for encoded images.
    dims: tuple[int, ...]


class Server:
    """A connection; `close()` it."""

    def __init__(self, url: str, timeout: float) -> None:
        """Opens a connection to `http://HOST:PORT`, `https://…`, `grpc://HOST:PORT` or, for HTTP, `HOST:PORT`.

        Raises:
            ServeError: tritonclient is missing, or the URL is none of these.
        """
        scheme, _, rest = url.rpartition("://")
        address = rest.rstrip("/")
        _, _, port = address.rpartition(":")
        if scheme not in ("", "http", "https", "grpc") or not address or " " in address or (port.isdecimal() and int(port) > 65535):
            raise ServeError(f"{url!r} is not a server's address", "give http://HOST:8000 or grpc://HOST:8001")
        self._url, self._timeout, self._grpc = url, timeout, scheme == "grpc"
        try:
            self._api: Any = import_module("tritonclient.grpc" if self._grpc else "tritonclient.http")
        except ImportError as error:
            raise ServeError("tritonclient is not installed", "`pip install 'se-deploy[triton]'`") from error
        limits = {} if self._grpc else {"connection_timeout": timeout, "network_timeout": timeout, "ssl": scheme == "https"}
        self._client = self._asked(lambda: self._api.InferenceServerClient(url=address, **limits))

    def model(self, name: str) -> Model:
        """A model that takes images and gives class scores.

        Raises:
            ServeError: the server is not there or has no such model, or it takes or gives something else.
        """
        config = self._asked(lambda: self._config(name))
        inputs, outputs = config["input"], [port for port in config["output"] if _is_vector(port)]
        if len(inputs) != 1 or inputs[0]["data_type"] not in (_PICTURES, _BYTES):
            told = ", ".join(f"{port['name']} {port['data_type']}" for port in inputs)
            raise ServeError(f"model {name} takes {told}, not one image", "ask a model that `se-deploy package` wrote for a classifier")
        batch, dims = int(config.get("max_batch_size", 0)), tuple(int(size) for size in inputs[0]["dims"])
        if not batch and dims[0] != 1:
            raise ServeError(f"model {name} takes exactly {dims[0]} images at once", "export with --batch dynamic, build and package again")
        if not outputs:
            raise ServeError(f"no output of model {name} is a vector of class scores", "ask it with tritonclient itself")
        encoded = inputs[0]["data_type"] == _BYTES
        return Model(
            name=name,
            input=inputs[0]["name"],
            output=next((port["name"] for port in outputs if port.get("label_filename")), outputs[0]["name"]),
            max_batch=batch,
            preprocess=None if encoded else _preprocess(name, config),
            dims=() if encoded else dims if batch else dims[1:],
        )

    def classes(self, model: Model, rows: Sequence[bytes] | Sequence[NDArray[np.float32]], top: int) -> list[list[Guess]]:
        """The best `top` classes of each row, best first.

        Raises:
            Refused: the server answers this request with an error.
            ServeError: the server is gone.
        """
        data: NDArray[Any]
        if model.preprocess is None:
            kind, data = "BYTES", np.array(rows, dtype=np.object_).reshape((-1, 1) if model.max_batch else (-1,))
        else:
            kind, data = "FP32", np.stack([np.asarray(row) for row in rows])
        feed = self._api.InferInput(model.input, list(data.shape), kind)
        feed.set_data_from_numpy(data)
        wanted = self._api.InferRequestedOutput(model.output, class_count=top)
        limit = {"client_timeout": self._timeout} if self._grpc else {}
        answer = self._asked(lambda: self._client.infer(model.name, [feed], outputs=[wanted], **limit), refusable=True)
        return [[_guess(text) for text in row] for row in answer.as_numpy(model.output).reshape(len(rows), -1)]

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _config(self, name: str) -> dict[str, Any]:
        if self._grpc:
            made: dict[str, Any] = self._client.get_model_config(name, as_json=True, client_timeout=self._timeout)["config"]
            return made
        return dict(self._client.get_model_config(name))

    def _asked(self, call: Any, *, refusable: bool = False) -> Any:
        """The call's value; what the client libraries raise becomes one of two errors."""
        from tritonclient.utils import InferenceServerException

        try:
            return call()
        except InferenceServerException as error:
            gone = any(word in str(error.status()) for word in ("UNAVAILABLE", "DEADLINE_EXCEEDED"))
            said = " ".join(str(error.message()).split())
            if refusable and not gone:
                raise Refused(said) from error
            raise ServeError(f"{self._url}: {said}", "check that the server runs there and has loaded the model") from error
        except (OSError, ValueError) as error:  # a refused or broken connection; a port that is none
            raise ServeError(
                f"{self._url} does not answer: {error or type(error).__name__}", "start the server, or name its address"
            ) from error


def _is_vector(port: dict[str, Any]) -> bool:
    """Whether an output is (batch, classes), the batch told or not."""
    dims = [int(size) for size in port["dims"]]
    return len(dims) == 1 or (len(dims) == 2 and dims[0] == 1)


def _preprocess(name: str, config: dict[str, Any]) -> Preprocess:
    try:
        made = Preprocess.model_validate_json(config["parameters"]["preprocess"]["string_value"])
        check_sane(made)  # the server is not ours
        return made
    except (KeyError, ValueError, ImageError) as error:
        raise ServeError(
            f"model {name} does not say how its images are prepared", "package it with this version of se-deploy, or ask its ensemble"
        ) from error


def _guess(text: bytes) -> Guess:
    """Triton's `score:index` or `score:index:label`."""
    score, index, *label = text.decode(errors="replace").split(":", 2)
    return Guess(index=int(index), label=label[0] if label else None, score=float(score))
