"""Calibration in parts gives what one run gives, to the byte: after a kill, from shards, on a cluster."""

import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from se_deploy.errors import ImageError, QuantError
from se_deploy.quant import methods, tally
from se_deploy.stages.calibrate import calibrate
from se_deploy.stages.merge import merge
from tests.quant import small
from tests.stages import exports

KILLED = """
import os, signal, sys
from se_deploy.stages import calibrate

calibrate.KEEP_EVERY = 0

def kill(_what, done, _total):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)

calibrate.calibrate(sys.argv[1], calib=sys.argv[2], output=sys.argv[3], progress=kill)
"""


def killed(model: Path, folder: Path, out: Path) -> Path:
    """The partial file of a run that was killed at its fourth image of those there are."""
    done = subprocess.run([sys.executable, "-c", KILLED, model, folder, out], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    return out.with_name(f"{out.name}.partial")


def test_a_killed_run_is_resumed_to_the_same_bytes(model: Path, tmp_path: Path) -> None:
    folder = exports.pictures(tmp_path / "more", 9)
    (folder / "002.png").write_bytes(b"no image")
    whole = calibrate(model, calib=folder, output=tmp_path / "whole.json")
    partial = killed(model, folder, tmp_path / "out" / "s.json")
    assert tally.read(partial).done == {0, 1, 2, 3}
    steps: list[int] = []
    result = calibrate(
        model, calib=folder, output=tmp_path / "out" / "s.json", resume=True, progress=lambda _w, done, _t: steps.append(done)
    )
    assert result.output.read_bytes() == whole.output.read_bytes()
    assert steps[0] == 4
    assert result.notes == ("resumed after 4 of 9 images", *whole.notes)
    assert not partial.exists()


def test_without_resume_a_run_starts_anew(model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "s.json"
    partial = killed(model, folder, out)
    steps: list[int] = []
    calibrate(model, calib=folder, output=out, progress=lambda _w, done, _t: steps.append(done))
    assert steps[0] == 0
    assert not partial.exists()


def test_nothing_to_resume_is_said(model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    notes = calibrate(model, calib=folder, output=out, resume=True).notes
    assert notes[0] == f"nothing to resume: there is no {out}.partial"


@pytest.mark.parametrize("other", [{"images": 3}, {"shard": "1/2"}])
def test_another_runs_partial_file_is_refused(other: dict[str, object], model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "s.json"
    partial = killed(model, folder, out)
    with pytest.raises(QuantError, match="partial is of another model, other images or another shard; leave --resume out"):
        calibrate(model, calib=folder, output=out, resume=True, **other)  # type: ignore[arg-type]
    assert partial.exists()
    partial.write_bytes(b"cut")
    with pytest.raises(QuantError, match="partial is no histogram file"):
        calibrate(model, calib=folder, output=out, resume=True)


def shards(model: Path, folder: Path, count: int, place: Path) -> list[Path]:
    made = [calibrate(model, calib=folder, shard=f"{i}/{count}", output=place / f"{i}.safetensors") for i in range(1, count + 1)]
    assert all(result.images for result in made)
    return [result.output for result in made]


@pytest.mark.parametrize("method", methods.NAMES)
def test_merged_shards_are_one_run_to_the_byte(method: str, model: Path, tmp_path: Path) -> None:
    folder = exports.pictures(tmp_path / "more", 11)
    (folder / "004.png").write_bytes(b"no image")
    whole = calibrate(model, calib=folder, method=method, output=tmp_path / "whole.json")
    files = shards(model, folder, 3, tmp_path)
    joined = merge([files[2], files[0], files[1]], method=method, output=tmp_path / "joined.json")
    assert joined.output.read_bytes() == whole.output.read_bytes()
    assert (joined.images, joined.notes) == (10, whole.notes)


def test_shards_go_to_calibration_by_the_models_name(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    out = calibrate(model, calib=folder, shard="2/3").output
    assert out == Path("calibration/small.2of3.safetensors")
    assert str(model.parent).encode() not in out.read_bytes()


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/0", "1", "a/b", "-1/2", "1/2/3", ""])
def test_no_such_shard_is_refused(shard: str, model: Path, folder: Path) -> None:
    with pytest.raises(QuantError, match="is no shard; write I/N with I from 1 to N"):
        calibrate(model, calib=folder, shard=shard)


def test_an_empty_shard_is_refused(model: Path, folder: Path) -> None:
    with pytest.raises(ImageError, match=r"shard 6/6 of 5 image\(s\) is empty; take fewer shards"):
        calibrate(model, calib=folder, shard="6/6")


def test_shards_that_are_not_of_one_run_are_refused(model: Path, folder: Path, tmp_path: Path) -> None:
    one, two = shards(model, folder, 2, tmp_path)
    other = exports.directory(tmp_path, small.network(seed=1), name="other")
    strange = calibrate(other, calib=folder, shard="2/2", output=tmp_path / "strange").output
    fewer = calibrate(model, calib=folder, images=4, shard="2/2", output=tmp_path / "fewer").output
    for files, said in [
        ([one], "2 of 5 images are in none of the files; name every shard"),
        ([one, two, two], "2.safetensors holds images that another file holds too; name each shard once"),
        ([one, strange], "1.safetensors and .*strange are of different runs: their graph differ"),
        ([one, fewer], "are of different runs: their images differ"),
        ([one, tmp_path / "none"], "no file .*none; write it with"),
        ([one, model / "manifest.json"], "manifest.json is no histogram file"),
        ([], "no histogram file to merge"),
    ]:
        with pytest.raises(QuantError, match=said):
            merge(files, output=tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


def test_a_fixed_batchs_filling_is_not_counted(tmp_path: Path, folder: Path) -> None:
    fixed = exports.directory(tmp_path, small.network(batch=4), name="fixed")
    (seen,) = (tally.read(path) for path in shards(fixed, folder, 1, tmp_path))
    assert seen.observers["x"].histogram.counts.sum() == 5 * 3 * small.SIZE**2


def test_an_unknown_runner_is_refused(model: Path, folder: Path) -> None:
    with pytest.raises(QuantError, match="no runner is called 'dask'; take one of local, ray"):
        calibrate(model, calib=folder, runner="dask")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of this machine with two CPUs, apart from any other; the stage takes the one that is there."""
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
        yield
        ray.shutdown()


@pytest.mark.slow
def test_a_cluster_gives_the_bytes_of_one_run(cluster: None, model: Path, tmp_path: Path) -> None:
    folder = exports.pictures(tmp_path / "more", 11)
    (folder / "004.png").write_bytes(b"no image")
    whole = calibrate(model, calib=folder, output=tmp_path / "whole.json")
    steps: list[int] = []
    out = tmp_path / "ray.json"
    spread = calibrate(model, calib=folder, output=out, runner="ray", progress=lambda _w, done, _t: steps.append(done))
    assert spread.output.read_bytes() == whole.output.read_bytes()
    assert spread.notes == whole.notes
    assert (steps[0], steps[-1], len(steps)) == (0, 11, 9), "eight parts, four to a CPU"


@pytest.mark.slow
def test_a_workers_error_is_the_users(cluster: None, tmp_path: Path, folder: Path) -> None:
    wide = exports.directory(tmp_path, name="wide", how=exports.HOW.model_copy(update={"resize": 40, "crop": (32, 40)}))
    with pytest.raises(ImageError, match="png is 3x32x40 after preprocessing, x takes 3x32x32; export with the right"):
        calibrate(wide, calib=folder, output=tmp_path / "s.json", runner="ray")
