"""What the user says wins over what the network says, which wins over ImageNet's way."""

import json
from pathlib import Path
from typing import Any

import pytest

from se_deploy.artifacts import Preprocess
from se_deploy.errors import ImageError
from se_deploy.images import preset
from se_deploy.networks.preprocessing import Wish, settle

KNOWN = Preprocess(resize=256, crop=224, interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(1, 2, 3))


NOTHING = Wish()


def settled(wish: Wish = NOTHING, known: Preprocess | None = KNOWN, size: tuple[int, int, int] = (3, 224, 224)) -> Preprocess:
    how, notes = settle(wish, known, (224, 224), size, fixed=True)
    assert bool(notes) == (known is None and wish.named is None)
    return how


def test_the_networks_own() -> None:
    assert settled() == KNOWN


def test_nothing_said() -> None:
    how, notes = settle(Wish(), None, (224, 224), (3, 64, 48), fixed=True)
    assert how == preset("imagenet", 64, 48)
    assert notes == ("nothing says how images are prepared: imagenet is assumed (see --preprocess)",)
    how, notes = settle(Wish(std=(0.2,)), None, (224, 224), (1, 28, 28), fixed=True)
    assert how == preset("gray", 28, 28).model_copy(update={"std": (0.2,)})
    assert notes == ("nothing says how images are prepared: gray is assumed apart from --std (see --preprocess)",)


def test_another_size_takes_the_same_share_of_the_image() -> None:
    assert settled(size=(3, 112, 112)) == KNOWN.model_copy(update={"resize": 128, "crop": 112})
    assert settled(size=(3, 112, 224)) == KNOWN.model_copy(update={"resize": (128, 256), "crop": (112, 224)})
    squashing = KNOWN.model_copy(update={"resize": (224, 224), "crop": None})
    assert settled(known=squashing, size=(3, 64, 32)) == squashing.model_copy(update={"resize": (64, 32)})


def test_flags_over_a_preset_over_the_networks_own() -> None:
    how = settled(Wish(named="tf", interpolation="nearest", scale=1.0, resize=230))
    assert how == preset("tf", 224, 224).model_copy(update={"interpolation": "nearest", "scale": 1.0, "resize": 230})


def test_mean_and_std_follow_the_colours() -> None:
    assert settled(Wish(color="BGR")) == KNOWN.model_copy(update={"color": "BGR", "mean": (0.3, 0.2, 0.1), "std": (3, 2, 1)})
    assert settled(Wish(color="BGR", mean=(7, 8, 9))).mean == (7, 8, 9)
    assert settled(Wish(color="RGB")) == KNOWN


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "how.json"
    file.write_text(KNOWN.model_dump_json())
    assert settled(Wish(named=str(file)), known=None) == KNOWN
    file.write_text(json.dumps({"men": [0, 0, 0]}))
    with pytest.raises(ImageError, match="how.json: men: Extra inputs are not permitted"):
        settled(Wish(named=str(file)))


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (Wish(crop=200), "come out as 200x200, the network takes 224x224; add --crop 224 or --input NAME=1xCx200x200"),
        (Wish(crop=(224, 200)), "come out as 224x200"),
        (Wish(scale=-1.0), "preprocessing: scale: Input should be greater than 0"),
        (Wish(interpolation="cubic"), "preprocessing: interpolation"),
        (Wish(color="L", mean=(0.5,), std=(0.5,)), r"gives 1 channel\(s\) \(L\), the network takes 3"),
        (Wish(std=(1, 1)), "mean and std have 3 and 2 values"),
    ],
)
def test_what_contradicts_the_network(wish: Wish, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        settled(wish)


@pytest.mark.parametrize("update", [{"crop": None}, {"crop": None, "resize": None}])
def test_images_of_any_size_are_left_to_later_steps(update: dict[str, Any]) -> None:
    assert settled(known=KNOWN.model_copy(update=update)).crop is None


def test_dynamic_sides_take_any_crop() -> None:
    assert settle(Wish(crop=200), KNOWN, (224, 224), (3, 224, 224), fixed=False)[0].crop == 200
