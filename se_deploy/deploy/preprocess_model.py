"""A Triton model in Python: encoded images to the network's input. `package --ensemble` copies it into the repository as model.py."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from se_deploy.artifacts import Preprocess
from se_deploy.errors import ImageError
from se_deploy.images import MAX_ENCODED, decode, preprocess


class TritonPythonModel:
    """What the server's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the preprocessing from the model's configuration."""
        config = json.loads(args["model_config"])
        self.how = Preprocess.model_validate_json(config["parameters"]["preprocess"]["string_value"])
        self.output = config["output"][0]["name"]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request by itself: an image that cannot be read is its own request's error."""
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """One request's rows, float32 (rows, channels, height, width)."""
        images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1)
        try:
            rows = [self.row(number, data) for number, data in enumerate(images)]
            shapes = {row.shape for row in rows}
            if len(shapes) > 1:
                raise ImageError("the images of one request differ in size", "send them in requests of their own")
            tensor = pb_utils.Tensor(self.output, np.stack(rows))
        except ImageError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{error.message}; {error.hint}"))
        return pb_utils.InferenceResponse([tensor])

    def row(self, number: int, data: bytes) -> NDArray[np.float32]:
        """One image."""
        if len(data) > MAX_ENCODED:
            raise ImageError(f"image {number} has {len(data) >> 20} MB", f"send at most {MAX_ENCODED >> 20} MB")
        try:
            return preprocess(decode(io.BytesIO(data), self.how.color), self.how)
        except ImageError as error:
            raise ImageError(f"image {number} of the request is not a readable image", "send JPEG, PNG or the like") from error
