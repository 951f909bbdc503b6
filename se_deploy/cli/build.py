"""`se-deploy build`: a model to an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se_deploy.cli import render


def build(
    model: Annotated[
        Path | None, typer.Argument(help="A model directory or its model.onnx. Left out: the newest export.", show_default=False)
    ] = None,
    fp32: Annotated[bool, typer.Option("--fp32", help="The default on ONNX Runtime.")] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="The default on TensorRT. Means, gates, inputs, outputs, and what FP16 cannot hold, stay FP32.")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Needs --calib or --scales; inside SE blocks everything is FP32.")] = False,
    calib: Annotated[
        Path | None, typer.Option(help="A folder of images: for INT8's scales, and for what FP16 cannot hold.", show_default=False)
    ] = None,
    scales: Annotated[Path | None, typer.Option(help="A scale file that `calibrate` wrote for this model.", show_default=False)] = None,
    backend: Annotated[str, typer.Option(help="auto, tensorrt, tensorrt-rtx, onnxruntime or openvino.")] = "auto",
    plugin: Annotated[str, typer.Option(metavar="auto|off|PATH", help="TensorRT: compiled where none is built yet.")] = "auto",
    target: Annotated[
        list[str] | None, typer.Option(help="TensorRT-RTX: sm_89 and the like; repeatable. Left out: the GPU here.", show_default=False)
    ] = None,
    shapes: Annotated[
        list[str] | None, typer.Option(help="NAME:min,opt,max, each a batch size or a whole shape; repeatable.", show_default=False)
    ] = None,
    version_compatible: Annotated[bool, typer.Option("--version-compatible", help="TensorRT: for later releases of its major.")] = False,
    hardware_compatible: Annotated[bool, typer.Option("--hardware-compatible", help="TensorRT: for every GPU from Ampere on.")] = False,
    embed_plugin: Annotated[bool, typer.Option("--embed-plugin", help="TensorRT: the plugin inside the engine.")] = False,
    refit: Annotated[bool, typer.Option("--refit", help="TensorRT: weights can be changed later.")] = False,
    max_drop: Annotated[
        float | None, typer.Option(min=0, max=100, help="INT8: points of top-1 that it may cost; else layers go back to float.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(min=0, max=100, help="INT8: percent of images whose answer stays; the same without labels.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Images that judge the bound. Left out: a fifth of --calib, kept apart.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Left out: engine.plan or engine.onnx in the model's directory.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an engine of another backend or precision.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Build an engine in FP32, FP16 or INT8; its manifest goes beside it, as FILE.json.

    \b
    Examples:
      se-deploy build --int8 --calib imgs/
      se-deploy build engines/se_resnet50 --fp16 -o half.onnx
      se-deploy build --fp16 --calib imgs/
      se-deploy build --int8 --calib imgs/ --min-agreement 99
      se-deploy build --int8 --scales calibration/se_resnet50.json --shapes input:1,16,64
      se-deploy build --int8 --calib imgs/ --backend tensorrt-rtx --target sm_89 --target sm_120
    """
    from se_deploy.errors import Contradiction
    from se_deploy.stages.build import build as stage

    try:
        with render.progress() as progress:
            result = stage(
                model,
                fp32=fp32,
                fp16=fp16,
                int8=int8,
                calib=calib,
                scales=scales,
                backend=backend,
                plugin=plugin,
                target=target or (),
                shapes=shapes or (),
                version_compatible=version_compatible,
                hardware_compatible=hardware_compatible,
                embed_plugin=embed_plugin,
                refit=refit,
                max_drop=max_drop,
                min_agreement=min_agreement,
                data=data,
                output=output,
                force=force,
                progress=progress,
            )
    except Contradiction as error:
        raise typer.BadParameter(str(error)) from error
    render.result(result, as_json)
