"""A killed or failing write leaves the old file or the new one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from se_deploy.errors import ArtifactError
from se_deploy.files import replacing, replacing_directory, sha256, write_text


def test_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    write_text(target, "old")
    write_text(target, "new")
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail() -> None:
        with replacing(target) as beside:
            beside.write_text("half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    code = (
        "import sys, time, pathlib\nfrom se_deploy.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as beside:\n"
        "    beside.write_text('half'); print('writing', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert target.read_text() == "old"


def test_a_directory_keeps_what_is_not_written_again(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "engine.onnx").write_text("kept")
    (target / "manifest.json").write_text("old")
    with replacing_directory(target) as beside:
        (beside / "manifest.json").write_text("new")
        (beside / "model.onnx").write_text("new")
        (beside / "model.onnx").chmod(0o600)
    assert sorted(os.listdir(target)) == ["engine.onnx", "manifest.json", "model.onnx"]
    assert (target / "manifest.json").read_text() == "new"
    assert (target / "model.onnx").stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["model"]


def test_a_failing_directory_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "manifest.json").write_text("old")

    def fail() -> None:
        with replacing_directory(target) as beside:
            (beside / "manifest.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (target / "manifest.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["model"]


def test_a_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot write .*file/a.txt.*; choose another place"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import pathlib, resource, sys\nfrom se_deploy.files import write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\nwrite_text(pathlib.Path(sys.argv[1]), 'x' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=False)
    assert f"ArtifactError: cannot write {tmp_path / 'a'}: File too large; free some space" in done.stderr
    assert os.listdir(tmp_path) == []


def test_an_error_about_another_file_keeps_its_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        (tmp_path / "missing").read_text()


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
