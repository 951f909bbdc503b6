"""The module or program that the weights came in: a check on the fresh one, and its stand-in where none is known."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from torch import nn

from se_deploy.errors import LoadError
from se_deploy.networks.answers import answer, probe, same
from se_deploy.networks.configs import Config, wanted
from se_deploy.networks.fit import fit
from se_deploy.networks.metadata import Said
from se_deploy.networks.network import Network
from se_deploy.networks.pickled import absent_in
from se_deploy.networks.rebuilt import fitting_labels, in_single_precision, rebuilt
from se_deploy.networks.recognise import Recognised
from se_deploy.networks.unwrap import Unwrapped


def given(name: str, found: Unwrapped, says: Said, unknown: LoadError) -> Network:
    """The module itself, where `unknown` says why no known network has its weights.

    Raises:
        LoadError: classes that it needs are not here, or it does not run.
    """
    absent = sorted(set(absent_in(found.module)))
    if absent:
        package = absent[0].partition(".")[0]
        mend = f"install {package} in the version it was saved with"
        if package == "__main__":  # a class of the script that saved it
            mend = "save it again with the class in a module that can be imported, or as TorchScript"
        raise LoadError(
            f"{name} needs {', '.join(absent[:3])}, which cannot be imported here; {unknown.message}",
            f"{mend}, or name its architecture with --arch",
        )
    module = _ready(found.module)
    in_single_precision(name, dict(module.state_dict()))
    size, how = wanted(Config(), says, _channels(found))
    try:
        scores = answer(module, probe(size, images=1))  # many an exported program takes one image at a time
    except Exception as error:  # the module's own code may raise anything
        raise LoadError(
            f"{name}: the module's own code does not run here: {type(error).__name__}: {error}",
            "name its architecture with --arch, or save it with the libraries installed here",
        ) from error
    labels, remarks = fitting_labels(says, scores.shape[1])
    notes = (*found.notes, *remarks, "no known network: the module in the file is taken as it is")
    return Network(module, None, {}, size, how, labels, notes)


def reconciled(name: str, found: Unwrapped, known: Recognised, says: Said, network: Network) -> Network:
    """`network` if it answers as the module that its weights came in, else one of the networks of equal keys, else that module."""
    if any(absent_in(found.module)):
        return _noted(network, f"the file's own module is of classes that are not here; its weights are in a fresh {network.arch}")
    inputs = probe(network.input_size)
    try:
        expected = answer(_ready(found.module), inputs)
    except Exception as error:  # a module pickled under an older library lacks what its code now asks for
        why = type(error).__name__
        return _noted(network, f"the file's own module does not run here ({why}); its weights are in a fresh {network.arch}")
    if same(answer(network.module, inputs), expected):
        return network
    for arch in known.ties:
        other = rebuilt(name, fit(arch, {}, known.state), replace(known, notes=()), says, tuple(found.notes))
        if same(answer(other.module, inputs), expected):
            return other
    note = f"the module in the file is taken as it is: a fresh {network.arch} answers differently with its weights"
    return replace(network, module=_ready(found.module), arch=None, kwargs={}, notes=(*found.notes, note))


def _ready(module: nn.Module) -> nn.Module:
    with contextlib.suppress(NotImplementedError):  # an exported program has no modes
        module.eval()
    return module.float()


def _channels(found: Unwrapped) -> int:
    """The input channels of the first convolution; 3 where a program shows none."""
    return next((int(value.shape[1]) for value in found.state.values() if value.ndim == 4), 3)


def _noted(network: Network, note: str) -> Network:
    return replace(network, notes=(*network.notes, note))
