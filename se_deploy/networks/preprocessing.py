"""How images become the network's input: what the user says, else what the checkpoint or the architecture says, else ImageNet's way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from se_deploy.artifacts import Preprocess
from se_deploy.errors import ImageError
from se_deploy.images import check_channels, preset, sized

Side = int | tuple[int, int]


@dataclass(frozen=True)
class Wish:
    """What the user says; None where nothing. `named` is a preset or a .json file that holds a manifest's `preprocess`."""

    named: str | None = None
    resize: Side | None = None
    crop: Side | None = None
    interpolation: str | None = None
    color: str | None = None
    scale: float | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The single fields that are set."""
        return {name: value for name, value in vars(self).items() if name != "named" and value is not None}


def settle(
    wish: Wish, known: Preprocess | None, made_for: tuple[int, int], size: tuple[int, int, int], fixed: bool
) -> tuple[Preprocess, tuple[str, ...]]:
    """The preprocessing, and notes.

    Args:
        wish: the user's.
        known: the network's own, for images of `made_for` (height, width).
        size: (C, H, W) of the network's input.
        fixed: whether it takes no other height and width.

    Raises:
        ImageError: no such preset, a bad file or value, or images that would not have the network's channels and size.
    """
    channels, height, width = size
    notes: tuple[str, ...] = ()
    if wish.named is not None:
        base = _named(wish.named, height, width)
    elif known is not None:
        base = known if made_for == (height, width) else _resized(known, made_for, height, width)
    else:
        name = "gray" if channels == 1 else "imagenet"
        base = preset(name, height, width)
        but = f" apart from --{', --'.join(wish.fields)}" if wish.fields else ""
        notes = (f"nothing says how images are prepared: {name} is assumed{but} (see --preprocess)",)
    how = _changed(base, wish.fields)
    check_channels(how, channels)
    if fixed:
        _check_size(how, height, width)
    return how, notes


def _named(name: str, height: int, width: int) -> Preprocess:
    if not name.endswith(".json"):
        return preset(name, height, width)
    try:
        return Preprocess.model_validate_json(Path(name).read_bytes())
    except OSError as error:
        raise ImageError(f"cannot read {name}: {error.strerror}", "name a preset or a .json file") from error
    except ValidationError as error:
        raise _refusal(name, error) from error


def _resized(known: Preprocess, made_for: tuple[int, int], height: int, width: int) -> Preprocess:
    """The same share of the image for another input size."""
    if known.resize is None or known.crop is None:
        crop = {} if known.crop is None else {"crop": (height, width)}
        resize = {} if known.resize is None else {"resize": (height, width)}
        return known.model_copy(update=crop | resize)
    short = known.resize if isinstance(known.resize, int) else min(known.resize)
    return known.model_copy(update=sized(height, width, min(made_for) / short))


def _changed(base: Preprocess, fields: dict[str, Any]) -> Preprocess:
    """`base` with the fields that the user set; mean and std follow the colours where those alone are turned round."""
    values = base.model_dump()
    if {base.color, fields.get("color")} == {"RGB", "BGR"}:
        values |= {"mean": base.mean[::-1], "std": base.std[::-1]}
    try:
        return Preprocess.model_validate(values | fields)
    except ValidationError as error:
        raise _refusal("preprocessing", error) from error


def _refusal(what: str, error: ValidationError) -> ImageError:
    first = error.errors()[0]
    return ImageError(f"{what}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}", "correct it")


def _check_size(how: Preprocess, height: int, width: int) -> None:
    """Images must come out as large as the input; a short side alone settles no size."""
    last = how.crop if how.crop is not None else how.resize
    if last is None or (how.crop is None and isinstance(last, int)):
        return  # the images' own shape decides, and every later step looks at it
    if _pair(last) != (height, width):
        made = "x".join(map(str, _pair(last)))
        hint = f"add --crop {height} or --input NAME=1xCx{made}"
        raise ImageError(f"images come out as {made}, the network takes {height}x{width}", hint)


def _pair(side: Side) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else side
