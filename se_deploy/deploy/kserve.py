"""A KServe InferenceService for a Triton repository: the existing way to grow past one machine."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

#: Where KServe mounts the storage in the server's container.
MOUNTED = "/mnt/models"
#: From none waiting to this many copies, by requests in flight for each.
REPLICAS = (1, 4)


def service(name: str, *, storage: str, tag: str, image: str | None, options: Sequence[str], gpu: bool, concurrency: int) -> str:
    """The service as YAML (serving.kserve.io/v1beta1).

    Args:
        name: the model's.
        storage: URI of the repository, such as "pvc://models/repository" or "s3://bucket/repository".
        tag: Triton's container, such as "25.10".
        image: another container than the stock one.
        options: for the server, beside its repository.
        gpu: whether each copy needs one.
        concurrency: requests in flight for each copy, at which another is started.
    """
    resources = {"cpu": "2", "memory": "4Gi", **({"nvidia.com/gpu": "1"} if gpu else {})}
    model: dict[str, object] = {
        "modelFormat": {"name": "triton", "version": "2"},
        "runtime": "kserve-tritonserver",
        "runtimeVersion": f"{tag}-py3",
        "protocolVersion": "v2",
        "storageUri": storage,
        "resources": {"requests": dict(resources), "limits": dict(resources)},
    }
    if image is not None:
        model["image"] = image
    if options:
        model["args"] = list(options)
    scaling = {"minReplicas": REPLICAS[0], "maxReplicas": REPLICAS[1], "scaleMetric": "concurrency", "scaleTarget": concurrency}
    made = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": dns(name)},
        "spec": {"predictor": {**scaling, "model": model}},
    }
    return yaml.safe_dump(made, sort_keys=False)


def dns(name: str) -> str:
    """A model's name as Kubernetes takes one (RFC 1123): lower case, digits and '-', at most 53 so that suffixes fit."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:53].rstrip("-") or "model"
