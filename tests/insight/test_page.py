"""The pages in a real browser: charts are drawn, nothing complains, nothing is fetched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import se_deploy
from tests.quant import small
from tests.stages.exports import directory
from tests.stages.test_fold import held, images, lively
from tests.verify.chromium import Chromium

__all__ = ["images"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as opened:
        yield opened


def test_both_pages_draw_their_charts(tmp_path: Path, images: Path, browser: Chromium) -> None:  # noqa: F811
    model = directory(tmp_path, lively(held(small.network(), "se"), "se2"))
    se_deploy.inspect(model, data=images, html=tmp_path / "gates.html")
    se_deploy.fold(model, data=images, output=tmp_path / "out")
    for page, charts in ((tmp_path / "gates.html", 4), (tmp_path / "out" / "fold.html", 1)):
        browser.open(page, 1200, 900)
        assert browser.run("document.body.dataset.drawn") == "yes"
        assert browser.run("document.querySelectorAll('.chart .main-svg').length") >= charts
        assert browser.run("document.getElementById('problem').textContent") == ""
