"""Folding trained networks: the bound that held on images kept apart holds on test images that `fold` never saw."""

import os
from pathlib import Path

import pytest

import se_deploy
from benchmarks import fashion
from se_deploy.images import find_images
from se_deploy.networks import demo
from se_deploy.stages.demo import draw_digits

MAX_DROP = 0.5


def drop_on(folder: Path, test: Path) -> float:
    """Points of top-1 below PyTorch's network as it was trained."""
    engine = se_deploy.build(folder, fp32=True)
    accuracy = se_deploy.bench([engine.output], data=test, duration=0.05, warmup=0.0).runs[0].accuracy
    assert accuracy.top1_reference is not None
    assert accuracy.top1 is not None
    assert accuracy.top1_reference.value > 75, "the network has learned something"
    return accuracy.top1_reference.value - accuracy.top1.value


@pytest.mark.slow
def test_the_bound_holds_on_the_demo_networks_test_images(tmp_path: Path) -> None:
    draw_digits(tmp_path / "imgs")
    demo.train(find_images(tmp_path / "imgs" / "train"), tmp_path / "digits.pt")
    se_deploy.export(tmp_path / "digits.pt", output=tmp_path / "m")
    made = se_deploy.fold(tmp_path / "m", data=tmp_path / "imgs" / "train", output=tmp_path / "f", max_drop=MAX_DROP)
    assert made.se_blocks == 0, "gates trained for a minute hardly move"
    assert drop_on(tmp_path / "f", tmp_path / "imgs" / "test") <= MAX_DROP


@pytest.mark.slow
@pytest.mark.skipif(not fashion.FOLDER.is_dir(), reason="apt-get install dataset-fashion-mnist")
def test_the_bound_holds_on_fashion_mnists_test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME", str(tmp_path / "cache")))
    checkpoint = fashion.train(fashion.Recipe(layers=(1, 1, 1), images=8000, epochs=2))
    se_deploy.export(checkpoint, output=tmp_path / "m")
    train, test = fashion.draw("train", tmp_path / "train", 3000), fashion.draw("t10k", tmp_path / "test")
    made = se_deploy.fold(tmp_path / "m", data=train, output=tmp_path / "f", max_drop=MAX_DROP)
    report = made.report
    assert report.score.drop is not None
    assert report.score.drop <= MAX_DROP
    folded = [block.name for block in report.blocks if block.state == "folded"]
    assert folded
    assert made.se_blocks == 3 - len(folded)
    assert all(block.variation <= 0.1 for block in report.blocks if block.state == "folded")
    assert drop_on(tmp_path / "f", test) <= MAX_DROP


def test_a_recipe_is_kept_under_its_own_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = fashion.Recipe(), fashion.Recipe(epochs=4)
    assert one.checkpoint() == fashion.Recipe().checkpoint() != other.checkpoint()
    assert one.checkpoint().is_relative_to(tmp_path / "se-deploy")
