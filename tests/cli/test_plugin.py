"""`se-deploy plugin` as a user types it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from se_deploy.artifacts import silent
from se_deploy.backends.plugin import library
from se_deploy.cli.app import app, main


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["plugin", *words], catch_exceptions=False, env={"COLUMNS": "200"})


@pytest.fixture(scope="module", autouse=True)
def built() -> Path:
    return library.chosen("auto", silent).file


def test_info_says_what_is_there(built: Path) -> None:
    lines = run("info").stdout.splitlines()
    assert lines[0].split() == ["file", str(built)]
    assert lines[1].split() == ["version", "1"]
    assert lines[2].split()[1:3] == ["sm_75", "sm_80"]
    assert lines[3].startswith("creators       648, from SqueezeExcite_none_sigmoid_")


def test_info_in_json(built: Path) -> None:
    about = json.loads(run("info", "--json").stdout)
    assert set(about) == {"version", "architectures", "creators", "file"}
    assert (about["version"], about["file"], len(about["creators"])) == ("1", str(built), 648)
    assert about["architectures"] == ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "compute_90"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["info", "none.so"], "error: no plugin library none.so; run `se-deploy plugin build`, or correct --plugin\n"),
        (["build", "--tensorrt-include", "."], "error: . has no NvInferRuntime.h; name the folder that has NvInfer.h\n"),
    ],
)
def test_a_users_error_is_one_line_and_1(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["se-deploy", "plugin", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr()) == (1, ("", line))


def test_nothing_built_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["se-deploy", "plugin", "info"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = "error: no plugin library is built from the sources as they are; run `se-deploy plugin build`\n"
    assert (ended.value.code, capsys.readouterr()) == (1, ("", said))


@pytest.mark.parametrize("words", [["build"], ["info"]])
def test_help_shows_examples(words: list[str]) -> None:
    assert f"se-deploy plugin {words[0]}" in run(*words, "--help").stdout
