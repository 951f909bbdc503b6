"""`se-deploy plugin build` and `plugin info`: the library that TensorRT loads for SqueezeExcite nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se_deploy.cli import render

app = typer.Typer(no_args_is_help=True, help="Compile the TensorRT plugin, or say what is there.")


@app.command()
def build(
    tensorrt_include: Annotated[Path | None, typer.Option(help="A folder with NvInfer.h, before all others.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The library. Left out: where `build` finds it.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compile the plugin with nvcc from PATH, CUDA_HOME or the wheels of the `[plugin]` extra, and say what was found.

    \b
    Examples:
      se-deploy plugin build
      se-deploy plugin build --tensorrt-include /opt/TensorRT-10.16/include -o libse_deploy_plugin.so
    """
    from se_deploy.stages.plugin_build import plugin_build

    with render.progress() as progress:
        made = plugin_build(tensorrt_include=tensorrt_include, output=output, progress=progress)
    render.notes(made.notes)
    library = made.library
    if as_json:
        render.record(
            {
                "output": str(library.file),
                "version": library.version,
                "architectures": list(library.architectures),
                "creators": list(library.creators),
                "seconds": made.seconds,
            }
        )
    else:
        print(library.file)


@app.command()
def info(
    plugin: Annotated[Path | None, typer.Argument(help="A library. Left out: the one that is built.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a plugin library holds: its version, the GPUs it has code for, its creators.

    \b
    Examples:
      se-deploy plugin info
      se-deploy plugin info engines/se_resnet50/engine.plugin.so --json
    """
    from se_deploy.stages.plugin_info import plugin_info

    library = plugin_info(plugin)
    about: dict[str, object] = {
        "version": library.version,
        "architectures": list(library.architectures),
        "creators": list(library.creators),
        "file": str(library.file),
    }
    if as_json:
        render.record(about)
        return
    print(f"file           {library.file}")
    print(f"version        {library.version}")
    print(f"architectures  {' '.join(library.architectures)}")
    print(f"creators       {len(library.creators)}, from {library.creators[0]} to {library.creators[-1]}")
