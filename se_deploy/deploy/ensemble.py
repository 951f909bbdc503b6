"""JPEG bytes in, scores out: a Python-backend model with the manifest's preprocessing, and the ensemble that puts it before the network."""

from __future__ import annotations

from pathlib import Path

import PIL

from se_deploy.artifacts import EngineManifest
from se_deploy.deploy.config import parameter, port
from se_deploy.deploy.contract import Contract, Tensor
from se_deploy.deploy.pbtxt import Word, text
from se_deploy.deploy.sample import picture_shape
from se_deploy.errors import PackageError

#: What is appended to the network's name.
PREPROCESS, IMAGES = "_preprocess", "_images"
#: The ensemble's input: one encoded image (JPEG, PNG, …) a row.
IMAGE = "image"

#: The first container whose Python (3.12) runs model.py.
OLDEST = "24.11"

_HERE = Path(__file__).parent
#: The files of se_deploy that model.py imports; they need NumPy, Pillow and pydantic alone.
_LEAVES = ("__init__.py", "artifacts.py", "errors.py", "files.py", "images.py")


def check(manifest: EngineManifest, contract: Contract) -> None:
    """Refuses a network that does not take one picture of the shape that its preprocessing makes.

    Raises:
        PackageError: says what it takes instead.
    """
    takes = ", ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in manifest.inputs)
    (tensor, *others) = contract.inputs
    if others or tensor.type != "FP32":
        raise PackageError(f"--ensemble is for a network of one float32 picture, this one takes {takes}", "package without it")
    made = picture_shape(manifest.preprocess)
    sizes = tensor.dims if contract.max_batch else tensor.dims[1:]
    if len(sizes) != 3 or any(size not in (-1, there) for size, there in zip(sizes, made, strict=True)):
        raise PackageError(
            f"the preprocessing makes pictures of {list(made)}, the network takes {takes}", "export with --resize and --crop"
        )


def preprocess_config(name: str, manifest: EngineManifest, contract: Contract, instances: int) -> str:
    """The configuration of the preprocessing model."""
    return text(
        {
            "name": name + PREPROCESS,
            "backend": "python",
            "max_batch_size": contract.max_batch,
            "input": [_image(contract)],
            "output": [port(contract.inputs[0])],
            "instance_group": [{"count": instances, "kind": Word("KIND_CPU")}],
            "parameters": [parameter("preprocess", manifest.preprocess.model_dump_json())],
        }
    )


def ensemble_config(name: str, manifest: EngineManifest, contract: Contract) -> str:
    """The configuration of the ensemble."""
    tensor = contract.inputs[0].name
    between = "preprocessed"
    return text(
        {
            "name": name + IMAGES,
            "platform": "ensemble",
            "max_batch_size": contract.max_batch,
            "input": [_image(contract)],
            "output": [port(output, contract.scores) for output in contract.outputs],
            "ensemble_scheduling": {
                "step": [
                    _step(name + PREPROCESS, {IMAGE: IMAGE}, {tensor: between}),
                    _step(name, {tensor: between}, {output.name: output.name for output in contract.outputs}),
                ]
            },
            "parameters": [parameter("preprocess", manifest.preprocess.model_dump_json())],
        }
    )


def sources() -> dict[str, Path | bytes | str]:
    """The preprocessing model's files, relative to its version's folder: the very code that calibration and `bench` use."""
    return {"model.py": _HERE / "preprocess_model.py", **{f"se_deploy/{name}": _HERE.parent / name for name in _LEAVES}}


def dockerfile(image: str) -> str:
    """What the stock container lacks for model.py; Pillow in the version that prepares images here.

    Raises:
        PackageError: the container's Python is too old.
    """
    tag = image.rpartition(":")[2][:5]
    if tag < OLDEST:
        raise PackageError(f"--ensemble needs Python 3.11, and container {tag} has 3.10", f"take --container {OLDEST} or newer")
    words = f'"numpy>=1.26" pillow=={PIL.__version__} "pydantic>=2.10"'
    return f"# What the preprocessing model imports, on the stock container.\nFROM {image}\nRUN pip install --no-cache-dir {words}\n"


def _image(contract: Contract) -> dict[str, object]:
    rows = contract.inputs[0].dims[0]
    return port(Tensor(IMAGE, "STRING", (1,) if contract.max_batch else (rows,)))


def _step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> dict[str, object]:
    return {
        "model_name": model,
        "model_version": -1,
        "input_map": [{"key": key, "value": value} for key, value in inputs.items()],
        "output_map": [{"key": key, "value": value} for key, value in outputs.items()],
    }
