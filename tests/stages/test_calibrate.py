"""Images in, a scale file out; bad images, bad models and bad matches are said."""

import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from se_deploy import artifacts, images
from se_deploy.artifacts import Preprocess, Scales
from se_deploy.errors import ArtifactError, ImageError, QuantError
from se_deploy.stages.calibrate import calibrate
from tests.quant import small
from tests.quant.running import run
from tests.stages import exports


def measured(model: Path, folder: Path, **options: object) -> tuple[Scales, tuple[str, ...]]:
    out = model / "scales.json"
    result = calibrate(model, calib=folder, output=out, **options)
    assert result.output == out
    table = artifacts.read(Scales, out)
    assert result.images == table.images
    return table, result.notes


def test_scales_are_those_of_the_images(model: Path, folder: Path) -> None:
    table, notes = measured(model, folder, method="minmax")
    pixels = np.stack([images.preprocess(images.decode(p), exports.HOW) for p in sorted(folder.iterdir())])
    values = run(small.network(), pixels, "se", "silu", "dw_out")[1:]
    assert list(table.tensors) == small.MEASURED
    for name, value in zip(["x", "se", "silu", "dw_out"], [pixels, *values], strict=True):
        scale = table.tensors[name]
        assert (scale.min, scale.max) == pytest.approx((float(value.min()), float(value.max())), rel=1e-5, abs=1e-6)
        assert scale.scale == max(-scale.min, scale.max) / 127
    assert table.graph == hashlib.sha256((model / "model.onnx").read_bytes()).hexdigest()
    assert (table.preprocess, table.images, table.method) == (exports.HOW, 5, "minmax")
    assert notes == ("calibrated on 5 image(s), fewer than 32: ranges may be too narrow",)


def test_batches_and_their_order_do_not_matter(model: Path, folder: Path) -> None:
    one, _ = measured(model, folder)
    two, _ = measured(model, folder, batch=2)
    for name, scale in one.tensors.items():
        assert two.tensors[name].scale == pytest.approx(scale.scale, rel=1e-5)


def test_the_same_images_give_the_same_bytes(model: Path, folder: Path) -> None:
    first = calibrate(model, calib=folder, output=model / "a.json").output.read_bytes()
    assert calibrate(model, calib=folder, output=model / "b.json").output.read_bytes() == first


def test_the_file_goes_to_calibration_by_the_models_name(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    result = calibrate(model, calib=folder)
    assert result.output == Path("calibration/small.json")
    assert os.listdir("calibration") == ["small.json"]
    text = result.output.read_text()
    assert str(model.parent) not in text
    assert set(json.loads(text)) == {"format", "graph", "preprocess", "images", "images_sha256", "method", "tensors", "repairs"}


def test_result_says_what_was_done(model: Path, folder: Path) -> None:
    result = calibrate(model, calib=folder, output=model / "s.json")
    assert (result.se_blocks, result.images, result.backend, result.precision, result.manifest) == (2, 5, None, None, None)
    assert 0 < result.seconds < 30
    assert 20 < result.peak_rss_mb < 20_000


def test_progress_reaches_its_end(model: Path, folder: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    calibrate(model, calib=folder, output=model / "s.json", progress=lambda *step: steps.append(step))
    assert steps == [("calibrate", done, 5) for done in range(6)]


@pytest.mark.parametrize(("asked", "names"), [(1, ["000"]), (2, ["000", "002"]), (5, ["000", "001", "002", "003", "004"]), (9, None)])
def test_images_are_spread_over_the_folder(asked: int, names: list[str] | None, model: Path, folder: Path) -> None:
    table, _ = measured(model, folder, images=asked)
    wanted = sorted(folder.iterdir()) if names is None else [folder / f"{name}.png" for name in names]
    together = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in wanted)
    assert table.images_sha256 == hashlib.sha256(together).hexdigest()
    assert table.images == len(wanted)


def test_class_folders_each_give_their_share(model: Path, tmp_path: Path) -> None:
    for name in "abc":
        exports.pictures(tmp_path / "classes" / name, 4)
    seen: list[str] = []
    original = images.decode

    def spy(path: Path, color: str = "RGB") -> Image.Image:
        seen.append(path.parent.name)
        return original(path, color)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "decode", spy)
        measured(model, tmp_path / "classes", images=3)
    assert seen == ["a", "b", "c"]


# CASES.md: few or bad calibration images


def test_corrupt_images_are_skipped_and_named(model: Path, folder: Path) -> None:
    clean, _ = measured(model, folder)
    (folder / "junk.jpg").write_bytes(b"not an image")
    whole = (folder / "000.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.ones((40, 40), np.float32)).save(folder / "depth.tif")
    (folder / "empty.png").touch()
    table, notes = measured(model, folder)
    assert table == clean
    assert notes[1] == (
        "skipped 4 of 9 images: cut.png is not a readable image; depth.tif holds floating-point pixels; "
        "empty.png is not a readable image; junk.jpg is not a readable image"
    )


def test_many_skipped_images_are_counted(model: Path, folder: Path) -> None:
    for number in range(8):
        (folder / f"bad{number}.png").touch()
    _, notes = measured(model, folder)
    assert notes[1].startswith("skipped 8 of 13 images: bad0.png is")
    assert notes[1].endswith("; bad4.png is not a readable image and 3 more")


def test_none_readable_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").touch()
    with pytest.raises(ImageError, match="none of the 1 images under .*bad can be read"):
        measured(model, tmp_path / "bad")
    assert not (model / "scales.json").exists()


@pytest.mark.parametrize(("make", "said"), [(False, "no folder .*none; name a folder"), (True, "none holds no image; known endings")])
def test_no_images_are_refused(make: bool, said: str, model: Path, tmp_path: Path) -> None:
    if make:
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "notes.txt").write_text("x")
    with pytest.raises(ImageError, match=said):
        measured(model, tmp_path / "none")


def test_zero_images_are_refused(model: Path, folder: Path) -> None:
    with pytest.raises(ImageError, match="0 images are none; use at least one"):
        measured(model, folder, images=0)


def test_a_network_of_fixed_batch_is_fed_whole_batches(tmp_path: Path, folder: Path) -> None:
    free, _ = measured(exports.directory(tmp_path, name="free"), folder)
    fixed, _ = measured(exports.directory(tmp_path, small.network(batch=4), name="fixed"), folder)
    assert fixed.images == 5
    for name, scale in free.tensors.items():
        assert fixed.tensors[name].scale == pytest.approx(scale.scale, rel=1e-5)


# CASES.md: image modes


def test_modes_give_the_scales_of_their_rgb_images(model: Path, tmp_path: Path) -> None:
    """What each mode decodes to is images.py's policy, tested there; here, that calibrating goes through it."""
    kinds = tmp_path / "kinds"
    exports.pictures(kinds, 1)
    base = Image.open(kinds / "000.png").resize((48, 40))
    (kinds / "000.png").unlink()
    grey16 = np.asarray(base.convert("L")).astype(np.uint16) * 257
    rotated = base.getexif()
    rotated[0x0112] = 6
    base.convert("L").save(kinds / "l.png")
    base.convert("LA").save(kinds / "la.png")
    base.convert("P").save(kinds / "p.png")
    base.convert("RGBA").save(kinds / "rgba.png")
    Image.fromarray(grey16).save(kinds / "sixteen.png")
    base.save(kinds / "exif.png", exif=rotated)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted(kinds.iterdir()):
        images.decode(path).save(flat / path.name)
    got, notes = measured(model, kinds)
    want, _ = measured(model, flat)
    assert got.images == 6
    assert len(notes) == 1
    assert got.tensors == want.tensors


# CASES.md: preprocessing


def test_channels_that_contradict_the_network_are_refused(tmp_path: Path, folder: Path) -> None:
    grey = exports.directory(tmp_path, small.network(channels=1), name="grey")
    with pytest.raises(ImageError, match=r"gives 3 channel\(s\) \(RGB\), the network takes 1"):
        measured(grey, folder)


def test_a_grey_network_takes_grey_images(tmp_path: Path, folder: Path) -> None:
    how = Preprocess(resize=36, crop=32, color="L", mean=(0.5,), std=(0.5,))
    table, _ = measured(exports.directory(tmp_path, small.network(channels=1), name="grey", how=how), folder)
    assert table.images == 5


def test_sizes_that_contradict_the_network_are_refused(tmp_path: Path, folder: Path) -> None:
    wide = exports.directory(tmp_path, name="wide", how=Preprocess(resize=40, crop=(32, 40)))
    with pytest.raises(ImageError, match="000.png is 3x32x40 after preprocessing, x takes 3x32x32; export with the right"):
        measured(wide, folder)


# The model


def test_a_model_onnx_stands_for_its_directory(model: Path, folder: Path) -> None:
    by_file = calibrate(model / "model.onnx", calib=folder, output=model / "a.json").output.read_bytes()
    assert by_file == calibrate(model, calib=folder, output=model / "b.json").output.read_bytes()


def test_the_newest_export_is_taken_and_named(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(["young", "old", "older"]):
        made = exports.directory(Path("engines"), name=name) / "manifest.json"
        os.utime(made, (1e9 - age, 1e9 - age))
    result = calibrate(calib=folder)
    assert result.output == Path("calibration/young.json")
    assert result.notes[0] == "taking the newest export, engines/young"


def test_no_export_is_said(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="no export under engines/; run `se-deploy export SOURCE` first"):
        calibrate(calib=folder)


def break_manifest(model: Path) -> None:
    (model / "manifest.json").write_text("{}")


def change_model(model: Path) -> None:
    onnx.save(small.network(seed=1), model / "model.onnx")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (change_model, r"model.onnx has changed since .*manifest.json was written; export the model again"),
        (break_manifest, r"manifest.json: name: Field required; export the model again"),
        (lambda model: (model / "manifest.json").unlink(), r"small has no manifest.json.*; run `se-deploy export` first"),
        (lambda model: (model / "model.onnx").unlink(), r"model.onnx is missing; export the model again"),
    ],
)
def test_a_spoilt_export_is_refused(spoil: object, said: str, model: Path, folder: Path) -> None:
    spoil(model)  # type: ignore[operator]
    with pytest.raises(ArtifactError, match=said):
        measured(model, folder)


def test_another_file_of_the_directory_is_no_model(model: Path, folder: Path) -> None:
    with pytest.raises(ArtifactError, match="plain.onnx is not the model that .* describes; name .*model.onnx"):
        calibrate(model / "plain.onnx", calib=folder)


def test_a_missing_model_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ArtifactError, match="no model .*nothing; run `se-deploy export"):
        calibrate(tmp_path / "nothing", calib=folder)


def test_an_unknown_method_is_refused(model: Path, folder: Path) -> None:
    with pytest.raises(QuantError, match="no calibration method is called 'median'; take one of auto, minmax, percentile, entropy, mse"):
        measured(model, folder, method="median")


def test_dead_and_broken_tensors_are_noted_by_name(tmp_path: Path, folder: Path) -> None:
    network = small.network()
    small.replace(network, "conv0.bias", np.full(small.C, -1e4, np.float32))
    w2 = small.weight(network, "se2.b2").copy()
    w2[0] = math.nan
    small.replace(network, "se2.b2", w2)
    table, notes = measured(exports.directory(tmp_path, network, name="dead"), folder)
    assert table.tensors["relu0"].scale == 1 / 127
    assert "relu0: always zero on these images; its scale is a guess (-1 to 1)" in notes
    assert "flat: 5 value(s) were not finite; its scale is that of the others" in notes
    assert all(0 < scale.scale < math.inf for scale in table.tensors.values())


# Writing


def test_a_failure_keeps_the_old_file(model: Path, folder: Path) -> None:
    out = model / "scales.json"
    out.write_text("old")
    (folder / "000.png").unlink()

    def stop(_what: str, done: int, _total: int | None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(model, calib=folder, output=out, progress=stop)
    assert out.read_text() == "old"
    assert sorted(p.name for p in model.iterdir()) == ["manifest.json", "model.onnx", "plain.onnx", "reference.npz", "scales.json"]


def test_a_place_that_cannot_be_written_is_said(model: Path, folder: Path) -> None:
    (model / "file").touch()
    with pytest.raises(ArtifactError, match="cannot write .*file/s.json"):
        calibrate(model, calib=folder, output=model / "file" / "s.json")


def test_a_folder_is_no_scale_file(model: Path, folder: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot write .*imgs: it is a folder; name a file with -o"):
        calibrate(model, calib=folder, output=folder)
