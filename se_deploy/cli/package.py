"""`se-deploy package`: an engine as a Triton repository or a C++ project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se_deploy.cli import render


def package(
    engine: Annotated[Path | None, typer.Argument(help="Left out: the newest under engines/.", show_default=False)] = None,
    triton: Annotated[Path | None, typer.Option(metavar="REPO", help="Write a Triton model repository.", show_default=False)] = None,
    cpp: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a CMake project with the C++ loader.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="The model's name; else the engine's.", show_default=False)] = None,
    version: Annotated[int, typer.Option(min=1, help="The version to write; others stay.")] = 1,
    max_batch: Annotated[
        int | None, typer.Option(min=1, help="The largest batch the server may form; else the profile's.", show_default=False)
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="Copies of the model that the server runs side by side.")] = 1,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Also models that take encoded images (JPEG, PNG).")] = False,
    kserve: Annotated[bool, typer.Option("--kserve", help="Also an InferenceService for Kubernetes.")] = False,
    storage: Annotated[
        str | None, typer.Option(metavar="URI", help="Where the cluster finds the repository; else pvc://REPO.", show_default=False)
    ] = None,
    container: Annotated[
        str | None, typer.Option(metavar="YY.MM", help="Triton's container; else by TensorRT.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a version that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write an engine as a model that a stock Triton Inference Server loads, or as a C++ project that builds as it is.

    \b
    Examples:
      se-deploy package engine.onnx --triton models/
      se-deploy package engine.plan --triton models/ --ensemble --max-batch 16
      se-deploy package engine.onnx --cpp deploy/
      se-deploy package --triton models/ --kserve --storage s3://bucket/models
    """
    from se_deploy.errors import Contradiction
    from se_deploy.stages.package import package as stage

    try:
        result = stage(
            engine,
            triton=triton,
            cpp=cpp,
            name=name,
            version=version,
            max_batch=max_batch,
            instances=instances,
            ensemble=ensemble,
            kserve=kserve,
            storage=storage,
            container=container,
            force=force,
        )
    except Contradiction as error:
        raise typer.BadParameter(f"{error} (--triton REPO or --cpp DIR)") from error
    render.result(result, as_json)
