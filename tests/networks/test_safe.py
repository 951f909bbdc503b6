"""Reading files that nobody vouches for."""

import argparse
import os
import pathlib
import pickle
import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from se_deploy.errors import LoadError
from se_deploy.networks.load import load
from se_deploy.networks.safe import read_pickle
from tests.networks.shaking import shake


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sign),)


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    return shake(timm.create_model("seresnet18", num_classes=4), 4, 3, 64, 64)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("extra", [{}, {"trust": False}])
def test_nothing_is_unpickled_without_trust(zipped: bool, extra: dict[str, Any], tmp_path: Path, net: torch.nn.Module) -> None:
    sign, path = tmp_path / "executed", tmp_path / "evil.pt"
    torch.save({"state_dict": net.state_dict(), "extra": Malicious(sign)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(LoadError, match=r"holds more than weights: it needs posix\.mkdir, .*; add --trust"):
        load(str(path), **extra)
    assert not sign.exists()
    load(str(path), trust=True)
    assert sign.exists()  # the file does what it was made for, so the test above can fail


@pytest.mark.parametrize("name", ["plain.pt", "plain.pkl"])
def test_a_bare_malicious_pickle_runs_nothing(name: str, tmp_path: Path) -> None:
    sign, path = tmp_path / "executed", tmp_path / name
    path.write_bytes(pickle.dumps(Malicious(sign), protocol=2))
    with pytest.raises(LoadError):
        load(str(path))
    assert not sign.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_namespaces_numbers_and_paths_need_no_trust(zipped: bool, tmp_path: Path, net: torch.nn.Module) -> None:
    extras = {
        "args": argparse.Namespace(lr=0.1, data=pathlib.PosixPath("/data"), betas=(0.9, 0.99)),
        "best": np.float64(3.5),
        "acc": np.float32(0.5),
        "epoch": np.int64(3),
        "flag": np.bool_(True),
        "history": np.arange(6, dtype=np.float32).reshape(2, 3),
        "order": OrderedDict(a=1),
    }
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"state_dict": net.state_dict(), **extras}, path, _use_new_zipfile_serialization=zipped)
    found = read_pickle(path, trust=False)
    assert (found["best"], found["epoch"], found["args"].lr) == (3.5, 3, 0.1)
    assert str(found["args"].data) == "/data"
    assert np.array_equal(found["history"], extras["history"])
    assert load(str(path)).arch == "timm:seresnet18"


def test_arrays_of_objects_do(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a.weight": np.array([Malicious(tmp_path / "executed")], dtype=object)}, path)
    with pytest.raises(LoadError, match="--trust"):
        load(str(path))
    assert not (tmp_path / "executed").exists()


def test_older_numpy_names(tmp_path: Path, net: torch.nn.Module) -> None:
    path = tmp_path / "x.pt"
    torch.save({"state_dict": net.state_dict(), "best": np.float64(3.5)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert read_pickle(path, trust=False)["best"] == 3.5


def test_newer_pickle_protocols_are_named(tmp_path: Path, net: torch.nn.Module) -> None:
    path = tmp_path / "x.pt"
    torch.save({"state_dict": net.state_dict()}, path, pickle_protocol=4)
    with pytest.raises(LoadError, match="instructions of newer pickle protocols"):
        load(str(path))
    assert load(str(path), trust=True).arch == "timm:seresnet18"


def spoilt(path: Path, net: torch.nn.Module) -> dict[str, tuple[bytes, str]]:
    """Files that are no whole checkpoint, and what is said of them."""
    torch.save(net.state_dict(), path)
    zipped = path.read_bytes()
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
    legacy = path.read_bytes()
    save_file(net.state_dict(), path)
    tensors = path.read_bytes()
    return {
        "empty": (b"", "is empty"),
        "text": (b"<html>404 not found</html>" * 9, "is no checkpoint"),
        "noise": (bytes(range(1, 200)), "is no checkpoint"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        "zip-cut": (zipped[: len(zipped) // 2], "is damaged"),
        "legacy-cut": (legacy[: len(legacy) // 2], "is damaged"),
        "legacy-cut-early": (legacy[:700], "is damaged"),
        "pickle-noise": (b"\x80\x02" + bytes(range(50, 250)), "is damaged"),
        "safetensors-cut": (tensors[: len(tensors) // 2], "is damaged"),
        "safetensors-header": (tensors[:8] + b"{" + b"x" * 5000, "is damaged"),
    }


@pytest.mark.parametrize("trust", [False, True])
def test_files_that_are_no_whole_checkpoint(trust: bool, tmp_path: Path, net: torch.nn.Module) -> None:
    path = tmp_path / "weights.pt"
    for kind, (content, words) in spoilt(path, net).items():
        path.write_bytes(content)
        with pytest.raises(LoadError) as caught:
            load(str(path), trust=trust)
        said = str(caught.value)
        assert str(path) in said, kind
        assert words in said, (kind, said)
        assert "\n" not in said, kind


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="cannot read .*none.pt: No such file"):
        load(str(tmp_path / "none.pt"))
    with pytest.raises(LoadError, match=re.escape(f"cannot read {tmp_path}: Is a directory")):
        load(str(tmp_path))


def test_the_ending_does_not_matter(tmp_path: Path, net: torch.nn.Module) -> None:
    save_file(net.state_dict(), tmp_path / "tensors.pth")
    torch.save(net.state_dict(), tmp_path / "pickle.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in tmp_path.iterdir():
            assert load(str(path)).arch == "timm:seresnet18"
