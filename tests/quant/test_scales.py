"""A scale file belongs to one graph and one preprocessing."""

import hashlib
from pathlib import Path

import pytest

from se_deploy import artifacts
from se_deploy.artifacts import Preprocess, Scales, TensorScale
from se_deploy.errors import QuantError
from se_deploy.quant import scales

GRAPH, OTHER = "a" * 64, "b" * 64


def table(**changes: object) -> Scales:
    base = Scales(
        graph=GRAPH,
        preprocess=Preprocess(),
        images=3,
        images_sha256="c" * 64,
        method="minmax",
        tensors={"t": TensorScale(min=-1, max=2, scale=2 / 127)},
    )
    return base.model_copy(update=changes)


def with_scale(text: str) -> str:
    return table().model_dump_json().replace(str(2 / 127), text)


def test_what_is_written_is_read_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    artifacts.write(table(), path)
    assert scales.read(path) == table()
    assert path.read_text().count("\n") > 20  # a line per value: diffable


def test_its_own_graph_is_taken() -> None:
    scales.check(table(), Path("s.json"), graph=GRAPH, preprocess=Preprocess())


def test_another_graph_is_refused_and_both_are_named() -> None:
    with pytest.raises(QuantError, match=f"s.json holds scales of the graph {GRAPH[:12]}, the model is {OTHER[:12]}; run `se-deploy cal"):
        scales.check(table(), Path("s.json"), graph=OTHER, preprocess=Preprocess())


def test_another_preprocessing_is_refused_and_both_are_named() -> None:
    with pytest.raises(QuantError, match=r"measured on images with color=RGB, the model takes color=BGR"):
        scales.check(table(), Path("s.json"), graph=GRAPH, preprocess=Preprocess(color="BGR"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read .*s.json: No such file"),
        ("{", "s.json: file: Invalid JSON"),
        ("{}", "s.json: graph: Field required"),
        (table().model_dump_json().replace('"format":1', '"format":2'), "s.json: format: Input should be 1"),
        (with_scale("0.0"), "s.json: tensors.t.scale: Input should be greater than or equal to 0.0000"),
        (with_scale("1e-45"), "s.json: tensors.t.scale: Input should be greater than or equal to 0.0000"),
        (with_scale("1e39"), "s.json: tensors.t.scale: Input should be less than or equal to 170000"),
        (with_scale("NaN"), "s.json: tensors.t.scale: Input should be"),
        (with_scale("Infinity"), "s.json: tensors.t.scale: Input should be"),
        (table().model_dump_json().replace("-1.0", "NaN"), "s.json: tensors.t.min: Input should be a finite number"),
    ],
)
def test_a_bad_file_is_one_line(content: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(QuantError, match=said):
        scales.read(path)


def test_the_fingerprint_is_of_the_images_hashes_in_order() -> None:
    a, b = (hashlib.sha256(text).hexdigest() for text in (b"1", b"2"))
    assert scales.fingerprint([a, b]) == hashlib.sha256(bytes.fromhex(a + b)).hexdigest()
    assert len({scales.fingerprint(images) for images in ([a, b], [b, a], [a], [])}) == 4
