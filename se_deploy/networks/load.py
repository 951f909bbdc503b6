"""SOURCE -> Network: any checkpoint that export takes, or the name of a library's network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from se_deploy.artifacts import Progress, silent
from se_deploy.errors import LoadError
from se_deploy.networks import safe
from se_deploy.networks.given import given, reconciled
from se_deploy.networks.metadata import said
from se_deploy.networks.network import Network
from se_deploy.networks.pretrained import is_name, published
from se_deploy.networks.programs import exported, torchscript
from se_deploy.networks.rebuilt import rebuilt
from se_deploy.networks.recognise import recognise
from se_deploy.networks.unwrap import Unwrapped, stripped, unwrap


def load(
    source: str,
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    trust: bool = False,
    random: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Network:
    """Loads a network from a file or by its library's name, `timm:NAME` or `torchvision:NAME`.

    Args:
        source: .pt, .pth, .ckpt, .pth.tar, .safetensors, .pt2 or TorchScript by content, whatever the name's end; or a library's name.
        arch: the architecture of a state_dict, where its keys do not tell it or tell it wrongly.
        num_classes: how many classes it must have; with `random`, how many it gets.
        trust: run the code that a pickled module, a TorchScript or a .pt2 file holds.
        random: seeded random weights, drawn by `seed`, instead of a library's published ones.

    Raises:
        LoadError: in one line, what is wrong with the source and what to do.
    """
    if is_name(source):
        if arch is not None:
            raise LoadError(f"{source} names its architecture itself", "leave --arch out")
        return published(source, num_classes, random, seed, progress)
    if random:
        raise LoadError(f"{source} is a file, and has weights of its own", "take --random with timm:NAME or torchvision:NAME")
    progress(f"load {source}", 0, 1)
    network = _network(source, _read(Path(source), trust), arch)
    progress(f"load {source}", 1, 1)
    classes = network.kwargs.get("num_classes")
    if num_classes is not None and classes is not None and classes != num_classes:
        raise LoadError(f"{source} has {classes} classes, --num-classes says {num_classes}", "leave it out or give the right number")
    return network


def _read(path: Path, trust: bool) -> Unwrapped:
    """The weights in a file, and the module or program they came in."""
    kind = safe.kind_of(path)
    if kind == "safetensors":
        state, metadata = safe.read_safetensors(path)
        found = unwrap(str(path), state)
        return replace(found, fields={**metadata, **found.fields})
    if kind == "pickle":
        return unwrap(str(path), safe.read_pickle(path, trust))
    if not trust:
        words = {"torchscript": "a TorchScript program", "pt2": "an exported program"}[kind]
        raise LoadError(f"{path} is {words}, and loading that runs code from the file", "add --trust if you know where it comes from")
    program = torchscript(path) if kind == "torchscript" else exported(path)
    return Unwrapped(stripped(program.state)[0], program.module, {} if program.size is None else {"input_size": program.size})


def _network(name: str, found: Unwrapped, arch: str | None) -> Network:
    """A fresh module with the weights found; the module that they came in, where it is no known network or answers differently."""
    whole = found.module
    if whole is not None and "pretrained_cfg" in vars(whole):
        found.fields.setdefault("pretrained_cfg", vars(whole)["pretrained_cfg"])
    says = said(found.fields)
    try:
        known = recognise(name, found.state, arch, says.arch)
    except LoadError as error:
        if whole is None or arch is not None:
            raise
        return given(name, found, says, error)
    network = rebuilt(name, known.fit, known, says, tuple(found.notes))
    return network if whole is None else reconciled(name, found, known, says, network)
