"""The HTML report in a real browser: it opens, nothing complains, nothing is fetched, and its numbers are those of `--json`."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.verify import built
from tests.verify.chromium import Chromium


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A page, and the JSON of the same run: two engines, two batches, labelled images, a baseline, NaN; a class called </script>."""
    root = tmp_path_factory.mktemp("html")
    labels = ("</script><b>", *(f"class {i}" for i in range(1, 10)))
    model = built.model(root / "engines" / "small", labels=labels)
    built.engine(model, built.weak_classifier, "weak.onnx")
    built.engine(model, built.nan_class, "nan.onnx")
    built.engine(model)
    rng = np.random.default_rng(3)
    lines = []
    for number in range(40):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8))
        coarse.resize((50, 40), Image.Resampling.BICUBIC).save(root / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{number % 10}")
    (root / "labels.csv").write_text("\n".join(lines))
    words = ["engine.onnx", "weak.onnx", "nan.onnx", "--labels", "labels.csv", "--batch", "1,4", "--baseline", "engines/small/plain.onnx"]
    words += ["--warmup", "0", "--duration", "0.05", "--threads", "1", "--atol", "1e-3", "--html", "report.html", "--json"]
    done = subprocess.run([sys.executable, "-m", "se_deploy", "bench", *words], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr  # NaN, and a tolerance that is not kept
    return root / "report.html", json.loads(done.stdout)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as opened:
        yield opened


def at(report: dict[str, Any], key: str) -> Any:
    value: Any = report
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def test_the_page_holds_exactly_what_json_prints(made: tuple[Path, dict[str, Any]], browser: Chromium) -> None:
    page, report = made
    browser.open(page, 1200, 900)
    assert json.loads(browser.run("document.getElementById('report').textContent")) == report


def test_every_number_in_a_table_is_the_jsons(made: tuple[Path, dict[str, Any]], browser: Chromium) -> None:
    page, report = made
    browser.open(page, 1200, 900)
    cells = browser.run("[...document.querySelectorAll('[data-key]')].map((c) => [c.dataset.key, c.textContent, c.dataset.scale || '1'])")
    assert len(cells) > 200
    for key, text, scale in cells:
        value = at(report, key) / float(scale)
        digits = len(text.partition("e")[0].partition(".")[2])
        power = int(text.partition("e")[2] or 0)
        assert abs(float(text) - value) <= 0.5001 * 10.0 ** (power - digits) or float(text) == pytest.approx(value, rel=0.006), key
    shown = {key for key, *_ in cells}
    for number in range(len(report["runs"])):
        for field in ("latency_ms.p50", "latency_ms.p99", "throughput", "speedup.value", "speedup.low", "accuracy.agreement.value"):
            assert f"runs.{number}.{field}" in shown
    text = browser.run("document.body.innerText")
    assert "</script><b>" in text
    assert "holds NaN for" in text
    assert "engine: NaN in " in text


def test_charts_are_drawn_from_the_same_numbers_and_answer_to_hovering(made: tuple[Path, dict[str, Any]], browser: Chromium) -> None:
    page, report = made
    browser.open(page, 1200, 900)
    charts = browser.run("Object.fromEntries([...document.querySelectorAll('.chart')].map((c) => [c.id, c.data]))")
    assert set(charts) == {"speedup", "throughput", "histogram", "shares", "classes"}
    runs = report["runs"]
    assert sorted(y for trace in charts["speedup"] for y in trace["y"]) == sorted(run["speedup"]["value"] for run in runs)
    beside = [entry["throughput"] for entry in report["reference"]["batches"]]
    assert sorted(y for trace in charts["throughput"] for y in trace["y"]) == sorted([*beside, *(run["throughput"] for run in runs)])
    counts = [tuple(trace["y"]) for trace in charts["histogram"]]
    assert sorted(counts) == sorted(tuple(e["histogram_ms"]["counts"]) for e in (*runs, *report["reference"]["batches"]))
    for run in runs[::2]:
        (trace,) = [trace for trace in charts["classes"] if trace["name"].startswith(run["engine"].removeprefix("engines/"))]
        assert trace["y"] == [found["drop"] for found in run["accuracy"]["classes"]]
    assert browser.run("[...document.querySelectorAll('.chart')].every((c) => c.querySelector('svg.main-svg .trace'))")
    spot = browser.run(
        """(() => { const chart = document.getElementById('throughput'); chart.scrollIntoView();
        const box = chart.querySelector('.scatterlayer .point').getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2]; })()"""
    )
    for offset in (0, 1):
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0] + offset, y=spot[1])
    hover = browser.run(
        """new Promise((done) => { const look = () => { const text = document.querySelector('#throughput .hoverlayer').textContent;
        text ? done(text) : setTimeout(look, 50); }; look(); })"""
    )
    assert "reference" in hover


def test_nothing_complains_and_nothing_is_fetched(made: tuple[Path, dict[str, Any]]) -> None:
    page, _ = made
    with Chromium() as browser:
        browser.open(page, 1200, 900)
        browser.run("new Promise((done) => setTimeout(done, 300))")
        assert browser.problems == []
        assert {url.partition(":")[0] for url in browser.requests} <= {"file", "about", "data", "blob"}
        assert [url for url in browser.requests if url.startswith("file")] == [page.resolve().as_uri()]
    assert page.stat().st_size < 2.5e6


@pytest.mark.parametrize(("width", "height"), [(360, 740), (412, 915)])
def test_a_phone_scrolls_tables_and_not_the_page(made: tuple[Path, dict[str, Any]], browser: Chromium, width: int, height: int) -> None:
    page, _ = made
    browser.open(page, width, height, mobile=True)
    assert browser.run("document.documentElement.scrollWidth") <= width
    wide = "[...document.querySelectorAll('.chart svg.main-svg')].every((s) => s.getBoundingClientRect().right <= window.innerWidth + 1)"
    assert browser.run(wide)
    assert browser.run("getComputedStyle(document.body).fontSize") == "16px"
    assert browser.run("document.querySelector('.wide').scrollWidth > document.querySelector('.wide').clientWidth")


def test_in_print_everything_is_on_the_paper(made: tuple[Path, dict[str, Any]], browser: Chromium) -> None:
    page, _ = made
    browser.open(page, 1200, 900)
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    browser.run("new Promise((done) => setTimeout(done, 300))")
    browser.call("Emulation.setEmulatedMedia", media="print")
    paper = 720  # CSS pixels: A4 less 12 mm on either side, about 703
    browser.call("Emulation.setDeviceMetricsOverride", width=paper, height=1000, deviceScaleFactor=1, mobile=False)
    assert browser.run("[...document.querySelectorAll('details')].every((d) => d.open)")
    assert browser.run("[...document.querySelectorAll('.chart svg.main-svg')].every((s) => s.getBoundingClientRect().right <= 703)")
    assert browser.run("[...document.querySelectorAll('table')].every((t) => t.getBoundingClientRect().right <= 720)")
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") + pdf.count(b"/Type /Page/") >= 2
    browser.call("Emulation.setEmulatedMedia", media="")


def test_a_page_cannot_be_written_into_a_folder(tmp_path: Path) -> None:
    built.engine(built.model(tmp_path / "engines" / "small"))
    (tmp_path / "report.html").mkdir()
    words = [sys.executable, "-m", "se_deploy", "bench", "--html", "report.html", "--duration", "0.05"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: report.html is a folder")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
