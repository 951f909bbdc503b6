"""The rendered images of benchmarks.int8, a few of them: the same again, every label exact, what judges apart from what calibrates."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from benchmarks.int8 import debian, documents, lines, pages, sets
from se_deploy.errors import SeDeployError

#: Two small packages.
SOURCES = tuple(d for d in documents.CALIBRATION + documents.EVALUATION if d.package in ("libtasn1-doc", "shared-mime-info"))


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """Fetched as the benchmark does it. Without Debian's packages the tests skip with that reason; under CI=true they fail."""
    needed = {source.package for source in SOURCES} | {package for package, *_ in lines.FONTS}
    try:
        if os.environ.get("CI") == "true" and not all((debian.cache() / "debian" / package).is_dir() for package in needed):
            subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True)
        for package in needed:
            debian.unpacked(package)
    except (SeDeployError, OSError) as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def test_documents_that_calibrate_and_judge_are_of_other_packages() -> None:
    parts = (documents.CALIBRATION, documents.EVALUATION, documents.FRESH)
    calibrate, judge, fresh = ({document.package for document in some} for some in parts)
    assert len(calibrate) >= 5
    assert len(judge) >= 5
    assert len(fresh) >= 4
    assert not calibrate & judge | calibrate & fresh | judge & fresh


def test_pages_are_drawn_the_same_again(tmp_path: Path) -> None:
    pages.write(tmp_path / "one", SOURCES, 8)
    pages.write(tmp_path / "other", SOURCES, 8)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert {name: len(list((tmp_path / "one" / name).iterdir())) for name in "0123"} == dict.fromkeys("0123", 2)


def test_a_page_turned_back_by_its_class_is_the_page(tmp_path: Path) -> None:
    import pypdfium2

    pages.write(tmp_path, SOURCES, 8)
    named = {Path(source.name).name.split(".")[0]: source for source in SOURCES}
    checked = 0
    for path in tmp_path.rglob("*.png"):
        _, rest = path.stem.split("-", 1)
        name, number = rest.rsplit("-", 1)
        with pypdfium2.PdfDocument(debian.document(named[name].package, named[name].name)) as pdf:
            upright = pdf[int(number) - 1].render(scale=1).to_pil().convert("RGB")
        k = (4 - int(path.parent.name)) % 4
        assert ImageChops.difference(Image.open(path).rotate(-90 * k, expand=True), upright).getbbox() is None
        assert k == 0 or ImageChops.difference(Image.open(path).resize(upright.size), upright).getbbox() is not None
        checked += 1
    assert checked == 8


def test_lines_are_drawn_the_same_again(tmp_path: Path) -> None:
    lines.write(tmp_path / "one", SOURCES, 12, 7)
    lines.write(tmp_path / "other", SOURCES, 12, 7)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert [len(list((tmp_path / "one" / name).iterdir())) for name in "01"] == [6, 6]


def test_a_line_of_class_1_is_the_upright_line_turned(tmp_path: Path) -> None:
    lines.write(tmp_path, SOURCES, 12, 7)
    for number, text in enumerate(lines.phrases(SOURCES, 12)):
        upright = lines.written(text, np.random.default_rng([2, 7, number]))
        (path,) = tmp_path.glob(f"?/{number:04d}.png")
        image = Image.open(path)
        assert image.size == (lines.WIDTH, lines.HEIGHT)
        turned = upright.rotate(180) if path.parent.name == "1" else upright
        assert ImageChops.difference(image, lines.prepared(turned)).getbbox() is None
        assert ImageChops.difference(image, lines.prepared(turned.rotate(180))).getbbox() is not None


def test_a_line_keeps_its_aspect_beside_grey_or_is_squeezed() -> None:
    short, long = (np.asarray(lines.prepared(Image.new("RGB", size, "red"))) for size in ((50, 40), (900, 40)))
    assert (short[:, :60] == [255, 0, 0]).all()
    assert (short[:, 60:] == lines.GREY).all()
    assert (long == [255, 0, 0]).all()


def test_lines_that_judge_a_bound_are_other_ones_than_those_that_calibrate(tmp_path: Path) -> None:
    lines.write(tmp_path / "calib", SOURCES, 6, 7)
    lines.write(tmp_path / "judge", SOURCES, 6, 7, after=6)
    texts = lines.phrases(SOURCES, 12)
    assert len(set(texts)) == 12
    assert not set(contents(tmp_path / "calib").values()) & set(contents(tmp_path / "judge").values())


def test_a_drawing_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def draw(folder: Path) -> None:
        (folder / "half.png").touch()
        raise SeDeployError("no paper", "buy some")

    with pytest.raises(SeDeployError, match="no paper"):
        sets.kept("some", draw)
    assert not list(debian.cache().iterdir())
