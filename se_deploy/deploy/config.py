"""`config.pbtxt` of an engine, as Triton's model_config.proto has it."""

from __future__ import annotations

from se_deploy.artifacts import EngineManifest
from se_deploy.deploy.contract import Contract, Tensor
from se_deploy.deploy.pbtxt import Word, text
from se_deploy.errors import PackageError

LABELS = "labels.txt"
#: A backend's name here -> Triton's platform and the file it opens.
PLATFORMS = {"tensorrt": ("tensorrt_plan", "model.plan"), "onnxruntime": ("onnxruntime_onnx", "model.onnx")}
#: How long a request may wait for others to share its batch.
QUEUE_DELAY_US = 500


def platform(manifest: EngineManifest) -> tuple[str, str]:
    """Triton's platform for an engine, and the file name it looks for.

    Raises:
        PackageError: a stock server has no backend for it.
    """
    if manifest.backend == "tensorrt-rtx":
        raise PackageError("a stock Triton cannot load a TensorRT-RTX plan", "build with --backend tensorrt, or take --cpp")
    if manifest.backend not in PLATFORMS:
        raise PackageError(f"no Triton repository for the {manifest.backend} backend", "build with --backend tensorrt or onnxruntime")
    return PLATFORMS[manifest.backend]


def network(name: str, manifest: EngineManifest, contract: Contract, instances: int) -> str:
    """The configuration of the engine itself."""
    kind, file = platform(manifest)
    return text(
        {
            "name": name,
            "platform": kind,
            "default_model_filename": file,
            "max_batch_size": contract.max_batch,
            "input": [port(tensor) for tensor in contract.inputs],
            "output": [port(tensor, contract.scores) for tensor in contract.outputs],
            "dynamic_batching": batching(contract),
            "instance_group": [{"count": instances, "kind": Word("KIND_GPU" if manifest.backend == "tensorrt" else "KIND_CPU")}],
            "model_warmup": [warmup(contract, size) for size in dict.fromkeys((1, *contract.preferred))],
            "parameters": [parameter("preprocess", manifest.preprocess.model_dump_json()), parameter("precision", manifest.precision)],
        }
    )


def port(tensor: Tensor, scores: str | None = None) -> dict[str, object]:
    """An input or output; a tensor without sizes is told as one of one element, which is what Triton wants."""
    dims: dict[str, object] = {"dims": tensor.dims} if tensor.dims else {"dims": (1,), "reshape": {"shape": ()}}
    label = {"label_filename": LABELS} if tensor.name == scores else {}
    return {"name": tensor.name, "data_type": Word(f"TYPE_{tensor.type}"), **dims, **label}


def batching(contract: Contract) -> dict[str, object] | None:
    """Dynamic batching, towards the sizes that the engine is tuned for."""
    if contract.max_batch < 2:
        return None
    return {"preferred_batch_size": contract.preferred, "max_queue_delay_microseconds": QUEUE_DELAY_US}


def parameter(key: str, value: str) -> dict[str, object]:
    """An entry of `parameters`."""
    return {"key": key, "value": {"string_value": value}}


def warmup(contract: Contract, size: int) -> dict[str, object]:
    """A sample request at a batch size, from `warmup/input_N` for each input; Triton repeats the one row of a file."""
    return {
        "name": f"batch of {size}",
        "batch_size": size if contract.max_batch else 1,
        "inputs": [
            {
                "key": tensor.name,
                "value": {"data_type": Word(f"TYPE_{tensor.type}"), "dims": tensor.dims, "input_data_file": f"input_{number}"},
            }
            for number, tensor in enumerate(contract.inputs)
        ],
    }
