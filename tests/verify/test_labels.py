from pathlib import Path

import pytest
from PIL import Image

from se_deploy.errors import ImageError
from se_deploy.images import find_images
from se_deploy.verify.labels import by_csv, by_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "cat/2.png", "dog/3.png", "eel/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def test_folders_are_matched_by_name(root: Path) -> None:
    found = by_folder(find_images(root), ("eel", "dog", "ant", "cat"), 4)
    assert {path.name: index for path, index in found.items()} == {"1.png": 3, "2.png": 3, "3.png": 1, "4.png": 0}


def test_without_labels_sorted_order_is_the_index(root: Path) -> None:
    assert [index for _, index in sorted(by_folder(find_images(root), None, 3).items())] == [0, 0, 1, 2]


def test_without_labels_their_number_must_be_the_networks(root: Path) -> None:
    with pytest.raises(ImageError, match="has 3 class folders, the network has 1000 classes and no labels; give every class its folder"):
        by_folder(find_images(root), None, 1000)


def test_strangers_are_named(root: Path) -> None:
    with pytest.raises(ImageError, match=r"class folders not among the network's 2 labels under .*: dog, eel; name the folders"):
        by_folder(find_images(root), ("cat", "Dog"), 2)


def test_a_csv_takes_labels_and_indices(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "l.csv"
    file.write_text("file,class\ncat/1.png,dog\n\ndog/3.png, 2\n")
    assert by_csv(file, root, ("cat", "dog", "eel"), 3) == {root / "cat/1.png": 1, root / "dog/3.png": 2}
    file.write_text("﻿eel/4.png,0\n", encoding="utf-8")
    assert by_csv(file, root, None, 3) == {root / "eel/4.png": 0}


def test_a_label_that_is_a_number_is_a_label_first(root: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("cat/1.png,0\n")
    assert by_csv(tmp_path / "l.csv", root, ("2", "1", "0"), 3) == {root / "cat/1.png": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat/1.png,0\ncat/9.png,0\n", r"l\.csv, line 2: no file .*cat/9\.png"),
        ("file,class\ncat/1.png\n", r"line 2: 1 values; write one `file,class` a line"),
        ("cat/1.png,cow\n", r"line 1: 'cow' is neither one of the network's 3 labels nor an index below 3"),
        ("cat/1.png,3\n", "'3' is neither one of"),
        ("cat/1.png,-1\n", "'-1' is neither one of"),
        ("cat/1.png,0\ncat/1.png,0\n", r"line 2: cat/1\.png is listed twice"),
        ("file,class\n", "lists no image"),
        ("", "lists no image"),
    ],
)
def test_a_bad_line_is_named_by_its_number(root: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(ImageError, match=message):
        by_csv(tmp_path / "l.csv", root, ("cat", "dog", "eel"), 3)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_csv_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "l.csv").write_bytes(content)
    with pytest.raises(ImageError, match=r"cannot read .*l\.csv"):
        by_csv(tmp_path / "l.csv", tmp_path, None, 3)
