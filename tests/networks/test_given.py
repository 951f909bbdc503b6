"""Whole modules and programs, from files that the user trusts."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from se_deploy.errors import LoadError
from se_deploy.networks.load import load
from tests.networks.shaking import shake

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def seresnet(**kwargs: Any) -> nn.Module:
    return shake(timm.create_model("seresnet18", num_classes=4, **kwargs), 4, 3, 64, 64)


class Small(nn.Module):
    """A network that nothing knows."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2)
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x).relu().mean((2, 3)))


def ask(module: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return module(IMAGES)


@pytest.mark.parametrize("wrapper", [None, "model", "ema"])
def test_a_pickled_module_gives_its_weights_to_a_fresh_one(wrapper: str | None, tmp_path: Path) -> None:
    source, path = seresnet(), tmp_path / "whole.pt"
    torch.save(source if wrapper is None else {wrapper: source, "epoch": 1}, path)
    with pytest.raises(LoadError, match=r"it needs timm\..*; add --trust"):
        load(str(path))
    network = load(str(path), trust=True)
    assert (network.arch, network.kwargs) == ("timm:seresnet18", {"num_classes": 4})
    assert network.module is not source
    assert torch.equal(ask(network.module), ask(source))


def test_a_tie_is_settled_by_what_the_module_answers(tmp_path: Path) -> None:
    source = shake(timm.create_model("tf_mobilenetv3_small_075", num_classes=3), 4, 3, 64, 64)
    del source.pretrained_cfg, source.default_cfg  # what would name it
    torch.save(source, tmp_path / "whole.pt")
    network = load(str(tmp_path / "whole.pt"), trust=True)
    assert network.arch == "timm:tf_mobilenetv3_small_075"
    assert torch.equal(ask(network.module), ask(source))


def test_a_module_that_answers_differently_is_taken_itself(tmp_path: Path) -> None:
    source = seresnet()
    source.act1 = nn.Tanh()
    torch.save(source, tmp_path / "whole.pt")
    network = load(str(tmp_path / "whole.pt"), trust=True)
    assert (network.arch, network.kwargs) == (None, {})
    assert torch.equal(ask(network.module), ask(source))
    assert "a fresh timm:seresnet18 answers differently" in network.notes[-1]


def test_an_unknown_module_is_taken_itself(tmp_path: Path) -> None:
    source = Small().train()
    torch.save(source, tmp_path / "whole.pt")
    network = load(str(tmp_path / "whole.pt"), trust=True)
    assert (network.arch, network.input_size, network.module.training) == (None, (3, 224, 224), False)
    assert torch.equal(ask(network.module), ask(source.eval()))


def test_half_precision_modules_become_fp32(tmp_path: Path) -> None:
    torch.save(Small().half(), tmp_path / "whole.pt")
    assert ask(load(str(tmp_path / "whole.pt"), trust=True).module).dtype == torch.float32


def vanish(module: nn.Module, path: Path, home: str = "gone_library.nets") -> None:
    """Saves a module whose class lives in a library that is gone afterwards."""
    library = types.ModuleType(home)
    moved = type(module)
    package = types.ModuleType(home.partition(".")[0])
    kept = (moved.__module__, moved.__qualname__)
    sys.modules |= {home: library, home.partition(".")[0]: package}
    setattr(library, moved.__name__, moved)
    moved.__module__, moved.__qualname__ = home, moved.__name__
    try:
        torch.save(module, path)
    finally:
        moved.__module__, moved.__qualname__ = kept
        del sys.modules[home], sys.modules[home.partition(".")[0]]


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_state_of_a_module_whose_library_is_gone_is_recovered(wrapped: bool, tmp_path: Path) -> None:
    class Old(type(seresnet())):  # type: ignore[misc]
        pass

    source, path = seresnet(), tmp_path / "whole.pt"
    expected = ask(source)
    source.__class__ = Old
    vanish(source, path)
    network = load(str(path), trust=True)
    assert network.arch == "timm:seresnet18"
    assert torch.equal(ask(network.module), expected)
    assert "of classes that are not here" in network.notes[-1]


def test_an_unknown_module_whose_library_is_gone_is_named(tmp_path: Path) -> None:
    vanish(Small(), tmp_path / "whole.pt")
    with pytest.raises(LoadError) as caught:
        load(str(tmp_path / "whole.pt"), trust=True)
    assert "needs gone_library.nets.Small, which cannot be imported here" in caught.value.message
    assert "install gone_library" in caught.value.hint


def test_an_attribute_that_an_older_library_did_not_have(tmp_path: Path) -> None:
    source = seresnet()
    expected = ask(source)
    del source.global_pool  # the class's forward asks for it
    torch.save(source, tmp_path / "whole.pt")
    network = load(str(tmp_path / "whole.pt"), trust=True)
    assert torch.equal(ask(network.module), expected)
    assert "does not run here (AttributeError); its weights are in a fresh timm:seresnet18" in network.notes[-1]


def test_a_module_that_does_not_run_and_is_not_known(tmp_path: Path) -> None:
    source = Small()
    source.head = nn.Linear(9, 3)
    torch.save(source, tmp_path / "whole.pt")
    with pytest.raises(LoadError, match="own code does not run here: RuntimeError"):
        load(str(tmp_path / "whole.pt"), trust=True)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """seresnet18 and Small, traced and exported."""
    folder, source = tmp_path_factory.mktemp("programs"), seresnet()
    for name, module in (("known", source), ("small", Small().eval())):
        program = torch.export.export(module, (IMAGES,), dynamic_shapes=({0: torch.export.Dim("n")},))
        torch.export.save(program, folder / f"{name}.pt2")
        with pytest.warns(FutureWarning):
            traced = torch.jit.trace(module, IMAGES)
        traced.save(str(folder / f"{name}.ts.pt"))
    return source, folder


@pytest.mark.parametrize(("name", "words"), [("known.pt2", "an exported program"), ("known.ts.pt", "a TorchScript program")])
def test_programs_need_trust(name: str, words: str, programs: tuple[nn.Module, Path]) -> None:
    with pytest.raises(LoadError, match=f"is {words}, and loading that runs code from the file; add --trust"):
        load(str(programs[1] / name))


@pytest.mark.parametrize("name", ["known.pt2", "known.ts.pt"])
def test_a_known_program_gives_its_weights_to_a_fresh_module(name: str, programs: tuple[nn.Module, Path]) -> None:
    network = load(str(programs[1] / name), trust=True)
    assert network.arch == "timm:seresnet18"
    assert network.input_size == ((3, 64, 64) if name.endswith("pt2") else (3, 224, 224))
    assert torch.equal(ask(network.module), ask(programs[0]))


@pytest.mark.parametrize("name", ["small.pt2", "small.ts.pt"])
def test_an_unknown_program_is_taken_itself(name: str, programs: tuple[nn.Module, Path]) -> None:
    network = load(str(programs[1] / name), trust=True)
    assert network.arch is None
    assert ask(network.module).shape == (2, 3)


@pytest.mark.parametrize("name", ["known.pt2", "known.ts.pt"])
def test_damaged_programs(name: str, programs: tuple[nn.Module, Path], tmp_path: Path) -> None:
    content = (programs[1] / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(LoadError, match="is damaged"):
        load(str(tmp_path / name), trust=True)
