"""A minute of each fuzzer, from true manifests and the findings kept below."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime import compiled
from tests.serving import seeds

pytestmark = pytest.mark.slow
SECONDS = 60
ROOT = Path(__file__).parent.parent


def fuzz(words: list[str], corpus: Path, folder: Path, **variables: str) -> str:
    """Runs libFuzzer over a corpus; what it says at the end. A crash, a hang of 10 s or 1 GB of memory fails."""
    limits = [f"-max_total_time={SECONDS}", "-max_len=8192", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]
    # By way of a shell that forks: a process's peak memory starts as that of the one it was forked from, here all the tests before.
    words = ["sh", "-c", '"$@"; exit $?', "sh", *words, str(corpus), *limits, f"-artifact_prefix={folder}/"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=os.environ | variables, timeout=SECONDS + 240)
    found = "".join(f"\n{path.name}: {path.read_bytes()[:2000]!r}" for path in folder.glob("*-*") if path.is_file())
    assert done.returncode == 0, f"{done.stderr[-3000:]}{found}"
    return done.stderr


def executed(said: str) -> int:
    return int(said.partition("stat::number_of_executed_units:")[2].split()[0])


def test_the_python_readers_survive_a_minute_of_atheris(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: pip install 'se-deploy[test]'")
    corpus = seeds.corpus(tmp_path / "corpus", tmp_path / "scratch")
    said = fuzz([sys.executable, str(ROOT / "tests" / "fuzz_manifest.py")], corpus, tmp_path, PYTHONPATH=str(ROOT))
    assert executed(said) > 1000


def test_the_cpp_reader_survives_a_minute_of_libfuzzer(tmp_path: Path) -> None:
    program = compiled.build(
        "se_fuzz_manifest", "-DSE_FUZZ=ON", "-DSE_SANITIZE=address,undefined", "-DCMAKE_BUILD_TYPE=Debug", compiler="clang++"
    )
    corpus = seeds.corpus(tmp_path / "corpus", tmp_path / "scratch")
    words = {word for path in corpus.iterdir() for word in re.findall(r'"\w+"', path.read_text())}
    (tmp_path / "words").write_text("".join('"' + word.replace('"', '\\"') + '"\n' for word in sorted(words)))
    said = fuzz([str(program), f"-dict={tmp_path / 'words'}"], corpus, tmp_path, **compiled.SANITIZED)
    assert executed(said) > 10_000
