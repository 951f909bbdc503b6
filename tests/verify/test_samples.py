import gc
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from se_deploy.artifacts import InputSpec, Preprocess
from se_deploy.errors import ArtifactError, ImageError
from se_deploy.images import find_images
from se_deploy.verify.samples import Pictures, Probes

HOW = Preprocess(resize=8, crop=8, scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))


def pictures(root: Path, how: Preprocess = HOW, labelled: bool = False, size: int | str = 8) -> Pictures:
    shape = (3, 8, size)
    spec = InputSpec(name="x", dtype="float32", shape=("batch", *shape), min=(1, 3, 8, 8), opt=(8, 3, 8, 8), max=(32, 3, 8, 8))
    images = find_images(root)
    known = {path: int(path.stem) + 100 for path in images.paths} if labelled else None
    return Pictures(images, images.paths, known, spec, how)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(7):
        Image.new("RGB", (16, 12), (number, 0, 0)).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_pictures_come_in_order_with_names_and_labels(root: Path, size: int) -> None:
    (root / "3.png").write_bytes(b"no")
    tried = pictures(root, labelled=True)
    chunks = list(tried.chunks(size))
    assert [len(chunk.names) for chunk in chunks] == [min(size, 6 - start) for start in range(0, 6, size)]
    assert [name for chunk in chunks for name in chunk.names] == ["0.png", "1.png", "2.png", "4.png", "5.png", "6.png"]
    assert np.concatenate([chunk.labels for chunk in chunks]).tolist() == [100, 101, 102, 104, 105, 106]
    values = np.concatenate([chunk.feeds["x"] for chunk in chunks])
    assert values.shape == (6, 3, 8, 8)
    assert values[:, 0, 0, 0].tolist() == [0, 1, 2, 4, 5, 6]
    assert len(tried) == 7
    assert list(tried.images.skipped) == ["3.png"]


def test_without_labels_there_are_none(root: Path) -> None:
    assert next(pictures(root).chunks(2)).labels is None


def test_another_size_than_the_networks_is_refused(root: Path) -> None:
    with pytest.raises(ImageError, match=r"0\.png is 3x6x6 after preprocessing, 3x8x8 is wanted; export with the right"):
        list(pictures(root, HOW.model_copy(update={"crop": 6})).chunks(2))


def test_neighbours_of_other_sizes_come_in_chunks_of_their_own(root: Path) -> None:
    Image.new("RGB", (30, 12)).save(root / "2.png")
    how = HOW.model_copy(update={"crop": None})
    chunks = list(pictures(root, how, size="width").chunks(100))
    assert [chunk.feeds["x"].shape for chunk in chunks] == [(2, 3, 8, 10), (1, 3, 8, 20), (4, 3, 8, 10)]
    assert [name for chunk in chunks for name in chunk.names] == [f"{i}.png" for i in range(7)]


def test_threads_that_decode_ahead_give_the_same_in_the_same_order(root: Path) -> None:
    (root / "3.png").write_bytes(b"no")
    alone, together = pictures(root), replace(pictures(root), workers=3)
    for one, other in zip(alone.chunks(2), together.chunks(2), strict=True):
        assert one.names == other.names
        assert (one.feeds["x"] == other.feeds["x"]).all()
    assert alone.images.skipped == together.images.skipped == {"3.png": f"{root / '3.png'} is not a readable image"}
    assert set(together.images.seconds) == set(together.paths)


def test_threads_stop_when_the_reader_does(root: Path) -> None:
    others = set(threading.enumerate())
    tried = replace(pictures(root), paths=pictures(root).paths * 50, workers=2)
    next(tried.chunks(1))
    gc.collect()
    assert set(threading.enumerate()) <= others


def test_nothing_readable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(ImageError, match="none of the 1 images under .* can be read"):
        list(pictures(tmp_path).chunks(2))


def test_probes_come_with_their_answers(tmp_path: Path) -> None:
    file = tmp_path / "reference.npz"
    np.savez(file, **{"input.a": np.arange(10), "input.b": np.arange(10) * 2, "output.y": np.arange(10) * 3})
    probes = Probes.read(file)
    chunks = list(probes.chunks(4))
    assert len(probes) == 10
    assert [chunk.names[0] for chunk in chunks] == ["probe 0", "probe 4", "probe 8"]
    assert chunks[2].feeds["b"].tolist() == [16, 18]
    assert chunks[2].expected is not None
    assert chunks[2].expected["y"].tolist() == [24, 27]


@pytest.mark.parametrize(
    "arrays",
    [{"input.a": np.zeros(3)}, {"output.y": np.zeros(3)}, {"input.a": np.zeros(3), "output.y": np.zeros(2)}],
    ids=["in", "out", "uneven"],
)
def test_incomplete_probes_are_refused(tmp_path: Path, arrays: dict) -> None:
    np.savez(tmp_path / "reference.npz", **arrays)
    with pytest.raises(ArtifactError, match="does not hold inputs and outputs of the same number"):
        Probes.read(tmp_path / "reference.npz")


@pytest.mark.parametrize("content", [None, b"no zip", b"PK\x03\x04 cut"])
def test_unreadable_probes_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "reference.npz").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"cannot read .*reference\.npz.*export the model again"):
        Probes.read(tmp_path / "reference.npz")
