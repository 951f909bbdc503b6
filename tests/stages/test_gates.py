import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from PIL import Image

import se_deploy
from se_deploy.errors import ArtifactError, GraphError, ImageError, QuantError
from tests.quant import small
from tests.stages.exports import HOW, directory, pictures


def classes(folder: Path, count: int = 12) -> Path:
    """Three class folders that differ in brightness, images of one class in tint and contrast."""
    rng = np.random.default_rng(7)
    for name, light in (("dark", 40), ("grey", 110), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.standard_normal((36, 36, 3)) * rng.uniform(5, 40) + light + rng.uniform(-8, 8, 3)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return classes(tmp_path / "imgs")


def model_of(tmp_path: Path, model: ModelProto) -> Path:
    return directory(tmp_path, model)


def test_zero_w2_and_b2_give_exactly_a_half(tmp_path: Path, images: Path) -> None:
    model = small.network()
    for name in ("se.w2", "se.b2"):
        small.replace(model, name, np.zeros_like(small.weight(model, name)))
    gates = se_deploy.inspect(model_of(tmp_path, model), data=images).gates
    assert gates is not None
    first, second = gates.blocks
    assert (gates.images, gates.classes) == (36, ("dark", "grey", "light"))
    assert (first.name, first.mean, first.std, first.variation, first.specificity) == ("se", 0.5, 0.0, 0.0, 0.0)
    assert set(first.quantiles) == {0.5}
    for channel in first.channels:
        assert (channel.mean, channel.std, channel.min, channel.max, set(channel.quantiles)) == (0.5, 0.0, 0.5, 0.5, {0.5})
        assert 0.4999 < channel.bound_low <= 0.5 <= channel.bound_high < 0.5001
    for of_class in first.classes:
        assert (of_class.images, of_class.mean, of_class.std, of_class.deviation) == (12, 0.5, 0.0, 0.0)
    assert first.constant == tuple(range(small.C))
    assert first.dead == first.saturated == ()
    assert second.std > 0


def planted(block: str = "se", channel: int = 5) -> ModelProto:
    """The channel's gate follows the brightness alone: open for light images, shut for others."""
    model = small.network()
    # conv0 hands the brightness on in one channel, and so does everything up to the block.
    w1, w2 = small.weight(model, f"{block}.w1"), small.weight(model, f"{block}.w2").copy()
    b1, b2 = np.zeros(len(w1), np.float32), np.zeros(small.C, np.float32)
    w2 *= np.float32(0.05)
    small.replace(model, f"{block}.w2", w2)
    small.replace(model, f"{block}.b1", b1)
    small.replace(model, f"{block}.b2", b2)
    return model


def test_a_planted_class_specific_channel_ranks_first(tmp_path: Path, images: Path) -> None:
    model = planted()
    plain = se_deploy.inspect(directory(tmp_path / "before", model), data=images).gates
    assert plain is not None
    # A hidden unit's mean per class is not known beforehand: the channel is made to follow the unit that tells the classes apart best.
    w1 = small.weight(model, "se.w1")
    hidden = hidden_of(model, images)
    unit = int(np.abs(hidden["light"].mean(0) - hidden["grey"].mean(0)).argmax())
    low, high = sorted((hidden["light"].mean(0)[unit], hidden["grey"].mean(0)[unit]))
    w2, b2 = small.weight(model, "se.w2").copy(), small.weight(model, "se.b2").copy()
    factor = 12 / (high - low)
    w2[5], b2[5] = 0, -factor * (low + high) / 2
    w2[5, unit] = factor
    small.replace(model, "se.w2", w2)
    small.replace(model, "se.b2", b2)
    assert len(w1) == len(b2[: len(w1)])
    gates = se_deploy.inspect(directory(tmp_path / "after", model), data=images).gates
    assert gates is not None
    assert (plain.ranking[0].block, plain.ranking[0].channel) != ("se", 5)
    best = gates.ranking[0]
    assert (best.block, best.channel) == ("se", 5)
    assert best.specificity > 0.9
    assert best.specificity == gates.blocks[0].channels[5].specificity
    assert [row.specificity for row in gates.ranking] == sorted((row.specificity for row in gates.ranking), reverse=True)


def hidden_of(model: ModelProto, images: Path) -> dict[str, np.ndarray]:
    """Hidden units of the block "se" by class, in NumPy from the pooled maps that the report's own tap gives."""
    import onnxruntime as ort

    from se_deploy.graph.gates import tapped, watching
    from se_deploy.images import decode, preprocess

    plain, taps = tapped(model)
    session = ort.InferenceSession(watching(plain, [taps[0].pooled]).SerializeToString(), providers=["CPUExecutionProvider"])
    found = {}
    for folder in images.iterdir():
        x = np.stack([preprocess(decode(path), HOW) for path in sorted(folder.iterdir())])
        pooled = session.run([taps[0].pooled], {"x": x})[0].reshape(len(x), -1)
        found[folder.name] = np.maximum(pooled @ small.weight(model, "se.w1").T + small.weight(model, "se.b1"), 0)
    return found


def test_dead_and_saturated_channels_are_listed(tmp_path: Path, images: Path) -> None:
    model = small.network()
    w2, b2 = small.weight(model, "se.w2").copy(), small.weight(model, "se.b2").copy()
    w2[[2, 7, 9]], b2[2], b2[7], b2[9] = 0, -20, 20, 0.3
    small.replace(model, "se.w2", w2)
    small.replace(model, "se.b2", b2)
    gates = se_deploy.inspect(model_of(tmp_path, model), data=images).gates
    assert gates is not None
    block = gates.blocks[0]
    assert 2 in block.dead
    assert 7 in block.saturated
    assert {2, 7, 9} <= set(block.constant)
    assert 9 not in (*block.dead, *block.saturated)


def test_every_gate_stays_inside_its_bounds(tmp_path: Path, images: Path) -> None:
    gates = se_deploy.inspect(model_of(tmp_path, small.network()), data=images).gates
    assert gates is not None
    for block in gates.blocks:
        for channel in block.channels:
            assert channel.proven_low is not None
            assert channel.proven_high is not None
            assert channel.proven_low <= channel.bound_low <= channel.min <= channel.max <= channel.bound_high <= channel.proven_high


def test_a_network_of_a_fixed_batch_and_an_unfused_one_give_the_same(tmp_path: Path, images: Path) -> None:
    free = se_deploy.inspect(directory(tmp_path / "free", small.network()), data=images).gates
    fixed = se_deploy.inspect(directory(tmp_path / "fixed", small.network(batch=5)), data=images).gates
    assert free is not None
    assert fixed is not None
    assert fixed.images == free.images == 36
    for one, other in zip(free.blocks, fixed.blocks, strict=True):
        np.testing.assert_allclose([c.mean for c in one.channels], [c.mean for c in other.channels], atol=1e-5)


def test_coverage_is_full_on_the_calibration_images_and_warns_on_others(tmp_path: Path, images: Path) -> None:
    model = model_of(tmp_path, small.network())
    scales = tmp_path / "scales.json"
    se_deploy.calibrate(model, calib=images / "dark", output=scales)
    same = se_deploy.inspect(model, data=images / "dark", scales=scales)
    assert same.gates is not None
    assert same.gates.coverage is not None
    assert {t.values_beyond for t in same.gates.coverage.tensors} == {0.0}
    assert not any("warning" in note for note in same.notes)
    other = se_deploy.inspect(model, data=images / "light", scales=scales)
    assert other.gates is not None
    assert other.gates.coverage is not None
    by_name = {t.tensor: t for t in other.gates.coverage.tensors}
    assert set(by_name) == {t.tensor for t in same.gates.coverage.tensors}
    assert by_name["x"].images_beyond == 100.0
    assert by_name["x"].values_beyond > 50
    assert any("warning" in note and "calibration images" in note for note in other.notes)
    tensors = other.gates.coverage.tensors
    assert [t.values_beyond for t in tensors] == sorted((t.values_beyond for t in tensors), reverse=True)


def test_scales_of_another_graph_are_refused(tmp_path: Path, images: Path) -> None:
    model, other = directory(tmp_path, small.network()), directory(tmp_path, small.network(seed=1), name="other")
    se_deploy.calibrate(other, calib=images, output=tmp_path / "scales.json")
    with pytest.raises(QuantError, match="of the graph"):
        se_deploy.inspect(model, data=images, scales=tmp_path / "scales.json")


def test_the_page_and_the_csv_files_hold_the_reports_numbers(tmp_path: Path, images: Path) -> None:
    page, folder = tmp_path / "gates.html", tmp_path / "csv"
    gates = se_deploy.inspect(model_of(tmp_path, small.network()), data=images, html=page, csv=folder).gates
    assert gates is not None
    text = page.read_text()
    inside = text.partition('<script type="application/json" id=report>')[2].partition("</script>")[0]
    assert json.loads(inside) == json.loads(gates.model_dump_json())
    figures = json.loads(text.partition('<script type="application/json" id=figures>')[2].partition("</script>")[0])
    assert list(figures) == ["deviation", "means", "curve0", "curve1"]
    assert figures["means"]["data"][0]["z"] == [[c.mean for c in block.classes] for block in gates.blocks]
    assert not any(word in text.partition("id=plotly")[0] for word in ("http://", "https://", "src=", "href="))

    def rows(name: str) -> list[dict[str, str]]:
        with (folder / name).open(newline="") as file:
            return list(csv.DictReader(file))

    assert [(r["block"], float(r["mean"])) for r in rows("blocks.csv")] == [(b.name, b.mean) for b in gates.blocks]
    assert [float(r["max"]) for r in rows("channels.csv")] == [c.max for b in gates.blocks for c in b.channels]
    assert [float(r["deviation"]) for r in rows("classes.csv")] == [c.deviation for b in gates.blocks for c in b.classes]
    means = [float(r["mean"]) for r in rows("gates.csv")]
    assert means == [value for b in gates.blocks for row in b.class_means or () for value in row]
    assert len(rows("ranking.csv")) == len(gates.ranking)


def test_images_without_classes_still_tell_of_gates(tmp_path: Path) -> None:
    report = se_deploy.inspect(model_of(tmp_path, small.network()), data=pictures(tmp_path / "flat", 5))
    assert report.gates is not None
    assert (report.gates.classes, report.gates.ranking, report.gates.blocks[0].specificity) == (("all",), (), None)
    assert any("no class folders" in note for note in report.notes)


def test_what_cannot_be_watched_is_refused(tmp_path: Path, images: Path) -> None:
    model = model_of(tmp_path, small.network())
    with pytest.raises(ImageError, match="no folder"):
        se_deploy.inspect(model, data=tmp_path / "missing")
    with pytest.raises(ArtifactError, match="no images"):
        se_deploy.inspect(model, html=tmp_path / "x.html")
    (tmp_path / "bare").mkdir()
    onnx.save(small.network(), tmp_path / "bare" / "model.onnx")
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        se_deploy.inspect(tmp_path / "bare" / "model.onnx", data=images)
    blind = small.network()
    keep = [n for n in blind.graph.node if n.name not in ("se", "se2")]
    for node in keep:
        node.input[:] = [{"se": "pw_out", "se2": "conv2_out"}.get(name, name) for name in node.input]
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in keep]
    del blind.graph.node[:]
    blind.graph.node.extend(kept)
    with pytest.raises(GraphError, match="no SE block"):
        se_deploy.inspect(directory(tmp_path, blind, name="blind"), data=images)


def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path: Path, images: Path) -> None:
    model = model_of(tmp_path, small.network())
    (tmp_path / "file").touch()
    seen: list[str] = []
    for words in ({"html": tmp_path / "file" / "x.html"}, {"csv": tmp_path / "file"}):
        with pytest.raises(ArtifactError):
            se_deploy.inspect(model, data=images, progress=lambda what, _done, _total: seen.append(what), **words)  # type: ignore[arg-type]
    assert not seen
