"""`se-deploy export`: a network to a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from se_deploy.cli import render


def _batch(text: str) -> Any:
    """`dynamic` or a number of 1 and more."""
    if text == "dynamic":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is neither dynamic nor a number of 1 and more")
    return int(text)


def _numbers(text: str) -> Any:
    """`0.485,0.456,0.406`."""
    return tuple(float(part) for part in text.split(","))


def _side(text: str) -> Any:
    """`256`, or `256x128` (height x width)."""
    sides = tuple(int(part) for part in text.split("x"))
    if len(sides) > 2 or min(sides) < 1:
        raise typer.BadParameter(f"{text!r} is neither a side nor HxW")
    return sides[0] if len(sides) == 1 else sides


def _factor(text: str) -> Any:
    """`0.00392` or `1/255`."""
    above, _, below = text.partition("/")
    if below and not float(below):
        raise typer.BadParameter(f"{text!r} is no number")
    return float(above) / float(below or 1)


def export(
    source: Annotated[
        str,
        typer.Argument(
            help=".pt .pth .ckpt .pth.tar .safetensors, .pt2 and TorchScript (with --trust), timm:NAME, torchvision:NAME, or .onnx.",
            show_default=False,
        ),
    ],
    arch: Annotated[str | None, typer.Option(metavar="NAME", help="The architecture, where the checkpoint's keys do not tell it.")] = None,
    num_classes: Annotated[int | None, typer.Option(metavar="N", min=1, help="What it must have; with --random, what it gets.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a pickled module or a program holds.")] = False,
    random: Annotated[bool, typer.Option("--random", help="Seeded random weights for timm: and torchvision: names.")] = False,
    input: Annotated[
        str | None, typer.Option(metavar="NAME=1x3x224x224", help="The graph's input, and another size than the network's own.")
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Left out: 20. Dynamo writes 18 and up, torchscript 13 to 20; an .onnx file is raised."),
    ] = None,
    exporter: Annotated[
        Literal["auto", "dynamo", "torchscript"], typer.Option(help="auto: dynamo, else torchscript, which is said.")
    ] = "auto",
    batch: Annotated[
        Any, typer.Option(parser=_batch, metavar="dynamic|N", help="Left out: dynamic where batches of 1, 2, 3 run, else 1, which is said.")
    ] = None,
    spatial: Annotated[
        Literal["fixed", "dynamic"] | None, typer.Option(help="Height and width. Left out: fixed; for an .onnx file as it declares.")
    ] = None,
    fuse: Annotated[Literal["all", "auto", "none"], typer.Option(help="Which SE blocks become one node; auto: those worth it.")] = "all",
    target: Annotated[str | None, typer.Option("--target", help="The device that --fuse auto is about (default sm_89).")] = None,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="Class names, one a line or a JSON list.")] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.json", help="imagenet, imagenet-bicubic, vggface2, tf, zero-one, gray, or a file.")
    ] = None,
    mean: Annotated[Any, typer.Option(parser=_numbers, metavar="R,G,B", help="After --scale, in the order of --color.")] = None,
    std: Annotated[Any, typer.Option(parser=_numbers, metavar="R,G,B", help="As --mean.")] = None,
    resize: Annotated[Any, typer.Option(parser=_side, metavar="N|HxW", help="The short side, or both.")] = None,
    crop: Annotated[Any, typer.Option(parser=_side, metavar="N|HxW", help="From the centre, after --resize.")] = None,
    interpolation: Annotated[
        Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] | None, typer.Option(help="Of --resize.")
    ] = None,
    color: Annotated[Literal["RGB", "BGR", "L"] | None, typer.Option(help="The order of channels that the network wants.")] = None,
    scale: Annotated[Any, typer.Option(parser=_factor, metavar="X", help="What a pixel of 0 to 255 is multiplied with.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Left out: engines/<stem of the source>.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the export of another source.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Export a network to ONNX, fuse its SE blocks, and prove that the graph gives PyTorch's answers.

    Writes DIR/model.onnx (fused), plain.onnx, weights.safetensors, reference.npz and manifest.json.

    \b
    Examples:
      se-deploy export se_resnet50.pt
      se-deploy export checkpoint.pth.tar --arch timm:seresnext50_32x4d --labels classes.txt -o engines/mine
      se-deploy export timm:seresnet50 --random --batch 8
      se-deploy export senet50_ft.pth --preprocess vggface2
      se-deploy export model.onnx --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5
    """
    from se_deploy.stages.export import export as stage

    with render.progress() as progress:
        result = stage(
            source,
            output=output,
            arch=arch,
            num_classes=num_classes,
            trust=trust,
            random=random,
            input=input,
            opset=opset,
            exporter=exporter,
            batch=batch,
            spatial=spatial,
            fuse=fuse,
            target=target,
            labels=labels,
            preprocess=preprocess,
            mean=mean,
            std=std,
            resize=resize,
            crop=crop,
            interpolation=interpolation,
            color=color,
            scale=scale,
            force=force,
            progress=progress,
        )
    render.result(result, as_json)
