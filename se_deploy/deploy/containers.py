"""Which of NVIDIA's Triton containers carries which TensorRT.

To be held against NVIDIA's own table, the Deep Learning Frameworks Support Matrix (docs.nvidia.com/deeplearning/frameworks),
which could not be read when this was written. Seen in public repositories that name both: 24.07, 24.08, 24.12, 25.06, 25.08, 25.11
and 25.12 (25.03 is named with 10.8, too). The others are from memory. ONNX Runtime's: docs/introduction/compatibility.md in
triton-inference-server/server.
"""

from __future__ import annotations

import re

from se_deploy.errors import PackageError

IMAGE = "nvcr.io/nvidia/tritonserver"

#: tag -> TensorRT, newest first. A plan loads on the version that built it, so only major and minor choose.
TENSORRT = {
    "26.03": "10.16.0",  # this one and the next as users report them from inside these containers
    "26.02": "10.15.1",
    "25.12": "10.14.1",
    "25.11": "10.14.1",
    "25.10": "10.13.3",
    "25.09": "10.13.3",
    "25.08": "10.13.2",
    "25.07": "10.11.0",
    "25.06": "10.11.0",
    "25.05": "10.10.0",
    "25.04": "10.9.0",
    "25.03": "10.9.0",
    "25.02": "10.8.0",
    "25.01": "10.8.0",
    "24.12": "10.7.0",
    "24.11": "10.6.0",
    "24.10": "10.5.0",
    "24.09": "10.4.0",
    "24.08": "10.3.0",
    "24.07": "10.2.0",
    "24.06": "10.1.0",
    "24.05": "10.0.1",
}
#: The newest container of the table of ONNX Runtimes (1.28).
ONNX = "26.08"


def check_tag(tag: str) -> None:
    """Refuses what is no tag of NVIDIA's containers.

    Raises:
        PackageError: it is not two digits, a point, two digits.
    """
    if not re.fullmatch(r"\d\d\.\d\d", tag):
        raise PackageError(f"--container {tag}: that is no container of Triton's", "give its year and month, such as 25.10")


def for_plan(version: str, asked: str | None) -> tuple[str, str | None]:
    """The container for a plan that TensorRT `version` built, and a remark where the table cannot vouch for it.

    Args:
        version: such as "10.13.3.9".
        asked: the tag the user wants, such as "25.10"; None: the newest that fits.

    Raises:
        PackageError: the container asked for carries another TensorRT, or none in the table carries this one.
    """
    if asked is not None and asked not in TENSORRT:
        return asked, f"container {asked} is not in this version's table: make sure that it carries TensorRT {version}"
    if asked is not None:
        _check(version, asked)
        return asked, None
    same = [tag for tag, there in TENSORRT.items() if _minor(there) == _minor(version)]
    if not same:
        raise PackageError(
            f"no Triton container in this version's table carries TensorRT {version} (newest: {next(iter(TENSORRT.values()))})",
            "name one that does with --container YY.MM, or build with a TensorRT that a container has",
        )
    exact = [tag for tag in same if version.startswith(TENSORRT[tag])]
    return (exact or same)[0], None if exact else f"container {same[0]} carries TensorRT {TENSORRT[same[0]]}, the plan is of {version}"


def _check(version: str, tag: str) -> None:
    there = TENSORRT[tag]
    if _minor(there) != _minor(version):
        raise PackageError(
            f"the plan is of TensorRT {version}, container {tag} carries {there}", "leave --container out, or build with that TensorRT"
        )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
