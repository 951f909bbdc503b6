"""--shapes, read strictly."""

import pytest

from se_deploy.artifacts import InputSpec
from se_deploy.backends.profile import profile
from se_deploy.errors import BackendError

IMAGES = InputSpec(name="layer:x", dtype="float32", shape=("N", 3, "H", "W"), min=(1, 3, 32, 32), opt=(8, 3, 32, 32), max=(32, 3, 32, 32))
FIXED = InputSpec(name="y", dtype="float32", shape=(4, 3), min=(4, 3), opt=(4, 3), max=(4, 3))


def sizes(*texts: str) -> list[tuple[tuple[int, ...], ...]]:
    return [(spec.min, spec.opt, spec.max) for spec in profile((IMAGES, FIXED), texts)]


def test_without_texts_nothing_changes() -> None:
    assert profile((IMAGES, FIXED), ()) == (IMAGES, FIXED)


def test_batches() -> None:
    assert sizes("layer:x:1,4,16")[0] == ((1, 3, 32, 32), (4, 3, 32, 32), (16, 3, 32, 32))


def test_whole_shapes_and_the_other_input_keeps_its_own() -> None:
    changed = sizes("layer:x:1x3x16x16,2x3x32x48,2x3x64x64")
    assert changed == [((1, 3, 16, 16), (2, 3, 32, 48), (2, 3, 64, 64)), ((4, 3), (4, 3), (4, 3))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("z:1,2,3", "the model has no input 'z'; its inputs are layer:x, y"),
        ("1,2,3", "the model has no input ''"),
        ("y:4,4", r"2 size\(s\); give three: min,opt,max"),
        ("y:4,4,4,4", r"4 size\(s\)"),
        ("layer:x:1,b,3", "'b' is no size; give sizes such as 8 or 8x3x224x224"),
        ("layer:x:1,,3", "'' is no size"),
        ("layer:x:0,1,2", r"0 does not fit layer:x \['N', 3, 'H', 'W'\]"),
        ("layer:x:-1,1,2", "-1 does not fit"),
        ("layer:x:1x3x32,1,2", "1x3x32 does not fit"),
        ("layer:x:1,1x4x32x32,2", "1x4x32x32 does not fit layer:x .*; change only its dynamic sizes"),
        ("y:1,2,4", "1 does not fit y"),
        ("layer:x:2,1,3", "the sizes do not grow; give min <= opt <= max"),
        ("layer:x:1,4,2", "the sizes do not grow"),
        ("layer:x:1x3x64x64,2x3x32x32,3x3x64x64", "the sizes do not grow"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(BackendError, match=f"^--shapes {text}: {said}"):
        sizes(text)
