"""A text detector answers nearly nothing to probes without text: its export is proven as far as FP32 goes, and that is said."""

from pathlib import Path

import pytest

from se_deploy.stages.export import export
from tests.trained import trained


def test_a_detector_is_exported_and_that_its_answers_are_faint_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = export(trained("ch_PP-OCRv4_det_infer.onnx"), input="x=1x3x320x320")
    assert made.se_blocks == 10
    assert any("hardly move sigmoid_0.tmp_0" in note for note in made.notes)
