"""From the keys and shapes of a state_dict to the network it belongs to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import timm

from se_deploy.artifacts import Preprocess
from se_deploy.errors import LoadError
from se_deploy.networks import dialects, zoo
from se_deploy.networks.build import known, meanings
from se_deploy.networks.derive import derive
from se_deploy.networks.dialects import State
from se_deploy.networks.families import candidates, plainness
from se_deploy.networks.fit import Fit, fit

#: A network with no more than this share of its keys amiss is named as the one meant.
_NEAR = 0.3


@dataclass(frozen=True)
class Recognised:
    """The network that a state_dict is of: `state` is in the spelling of `fit.arch`, which `ties` fit as well."""

    fit: Fit
    state: State
    ties: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: What the spelling of the keys says about the images.
    preprocess: Preprocess | None = None


def recognise(name: str, state: State, arch: str | None, hint: str | None) -> Recognised:
    """The network of a bare state_dict.

    `arch` is what the user says, and is held to; `hint` is what the checkpoint says, and is tried first. Messages call the file `name`.

    Raises:
        LoadError: no known network has these keys; or keys of the one named, or nearest, are missing or left over.
    """
    if arch is not None:
        return _as_told(name, state, arch)
    told = [found for full in meanings(hint or "") if (found := _as(full, state)).fit.exact]
    if told:
        return told[0]
    seen = [fit(full, {}, state) for full in candidates(state)]
    exact = [found for found in seen if found.exact]
    if exact:
        ties = tuple(found.arch for found in exact[1:])
        return Recognised(exact[0], state, ties, _tie_notes(exact[0].arch, ties))
    others = [found for found in (_derived(state), _ours(state), _foreign(name, state)) if found is not None]
    for found in others:
        if found.fit.exact:
            return found
    raise _refused(name, [*seen, *(found.fit for found in others)], state)


def _as_told(name: str, state: State, arch: str) -> Recognised:
    """`state` as the network that the user names, in whichever library and spelling of the keys it fits."""
    first = known(arch)
    for full in meanings(arch):
        found = _as(full, state)
        if found.fit.exact:
            return found
    foreign = _foreign(name, state)
    if foreign is not None and foreign.fit.exact and foreign.fit.arch == first:
        return foreign
    found = _as(first, state if foreign is None else foreign.state)
    if foreign is not None and found.fit.exact:
        note = f"such keys are usually of {foreign.fit.arch}; taken as {first}, as --arch says"
        return replace(found, notes=(note,), preprocess=foreign.preprocess)
    raise LoadError(f"{name} is no {first}: {_as(first, state).fit.amiss()}", "name another architecture with --arch, or none")


def _as(arch: str, state: State) -> Recognised:
    """`state` as `arch`, with the structure that its shapes show where that is nearer than the usual one."""
    usual = fit(arch, {}, state)
    derived = None if usual.exact else derive(state)
    if derived is None or _constructor(arch) != _constructor(derived[0]):
        return Recognised(usual, state)
    return Recognised(min(usual, fit(arch, derived[1], state), key=lambda found: found.distance), state)


def _constructor(arch: str) -> str:
    """The module whose constructor makes a network: networks of one take the same arguments."""
    kind, _, name = arch.partition(":")
    return str(timm.models.model_entrypoint(name.partition(".")[0]).__module__) if kind == "timm" else arch


def _derived(state: State) -> Recognised | None:
    derived = derive(state)
    if derived is None:
        return None
    found = fit(*derived, state)
    words = ", ".join(f"{key} {value}" for key, value in derived[1].items())
    return Recognised(found, state, notes=(f"the shapes are those of {found.arch} with {words}",))


def _ours(state: State) -> Recognised | None:
    found = zoo.recognise(state)
    return None if found is None else Recognised(fit(f"ours:{found[0]}", found[1], state), state)


def _foreign(name: str, state: State) -> Recognised | None:
    try:
        found = dialects.translate(state)
    except LoadError as error:
        raise LoadError(f"{name}: {error.message}", error.hint) from error
    if found is None:
        return None
    return Recognised(fit(found.arch, found.kwargs, found.state), found.state, (), (found.note,), found.preprocess)


def _tie_notes(taken: str, ties: tuple[str, ...]) -> tuple[str, ...]:
    if not ties:
        return ()
    return (f"the keys fit {taken} and {', '.join(sorted(ties, key=plainness))}; took {taken}, name another with --arch",)


def _refused(name: str, fits: list[Fit], state: State) -> LoadError:
    nearest = min(fits, key=lambda found: found.distance, default=None)
    if nearest is not None and nearest.distance <= _NEAR * nearest.size:
        return LoadError(f"{name} is nearly {nearest.arch}: {nearest.amiss()}", "mend the checkpoint or name its architecture with --arch")
    first = ", ".join(list(state)[:3])
    return LoadError(
        f"{name}: no network known here has its {len(state)} keys ({first}, …)",
        "name its architecture with --arch, or give the whole module with --trust",
    )
