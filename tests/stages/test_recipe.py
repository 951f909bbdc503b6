"""What `run` reads: the line of every mistake is named."""

from pathlib import Path

import pytest

from se_deploy.errors import ArtifactError
from se_deploy.stages.steps.recipe import read, section


def recipe(folder: Path, text: str) -> Path:
    file = folder / "r.yaml"
    file.write_text(text)
    return file


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    found = read(
        recipe(
            tmp_path,
            """
model: engines/mine
export: {source: timm:seresnet50, random: true, mean: [0.1, 0.2, 0.3]}
calibrate:
  calib: imgs
build:
  shapes: ["input:1,8,32"]
matrix: {precisions: [fp32, int8], backends: [onnxruntime], batches: [1, 8]}
bench:
""",
        )
    )
    assert found.model == "engines/mine"
    assert found.export.words() == {"source": "timm:seresnet50", "random": True, "mean": [0.1, 0.2, 0.3]}
    assert found.calibrate.words() == {"calib": "imgs"}
    assert found.build.words() == {"shapes": ["input:1,8,32"]}
    assert (found.matrix.precisions, found.matrix.batches) == (("fp32", "int8"), (1, 8))
    assert found.bench is not None
    assert found.bench.words() == {}
    assert found.package is None


def test_sections_have_the_words_of_their_functions() -> None:
    assert {"source", "arch", "num_classes", "fuse", "preprocess"} <= set(section("export").model_fields)
    assert {"data", "duration", "baseline", "html", "rtol", "min_agreement"} <= set(section("bench").model_fields)
    for name in ("export", "calibrate", "build", "bench"):
        assert not {"progress", "output", "force", "model"} & set(section(name).model_fields)


INT8 = "export:\n  source: a.pt\nmatrix:\n  precisions: [int8]\ncalibrate:\n  calib: x\n"
MISTAKES = {
    "export:\n  source: a.pt\n  nun_classes: 3": "line 3: export.nun_classes: no such key; `export` takes source, arch, num_classes",
    "export:\n  source: a.pt\nbanch:\n  data: x": "line 3: banch: no such key",
    "# one\n\nexport:\n  arch: x": "line 3: export.source: is missing",
    "calibrate:\n  calib: x": "line 1: export: is missing",
    "export: timm:x": "line 1: export: is to be a section, with keys below it",
    "export:\n  source: a.pt\nmatrix:\n  precisions:\n    - fp32\n    - fp64": "line 6: matrix.precisions.1: input should be 'fp32'",
    "export:\n  source: a.pt\nmatrix:\n  backends: [cuda]": "line 4: no backend is called 'cuda'; take auto, tensorrt",
    "export:\n  source: a.pt\nmatrix:\n  batches: [8, 0]": "line 4: a batch has at least one row",
    "export:\n  source: a.pt\nmatrix:\n  batches: []": "line 4: matrix.batches: tuple should have at least 1 item",
    "export:\n  source: a.pt\n  mean: [0.1, x, 1]": "line 3: export.mean.1: input should be a valid number",
    "export:\n  source: a.pt\nbench:\n  duration: long": "line 4: bench.duration: input should be a valid number",
    "export:\n  source: a.pt\nmatrix:\n  precisions: [int8]": "line 4: int8 needs scales, and they are never made from random data",
    "export:\n  source: a.pt\ncalibrate:": "line 3: calibrate.calib: is missing",
    "export:\n  source: a.pt\n  source: b.pt": "line 3: source is there twice",
    "export:\n  source: [a": "line 2: not YAML: expected ',' or ']'",
    "export:\n\tsource: a": "line 2: not YAML: found character",
    f"{INT8}build:\n  max_drop: 1\n  min_agreement: 99": "line 7: build: max_drop and min_agreement exclude each other",
    f"{INT8}build:\n  data: x": "line 7: build: data is for max_drop or min_agreement",
    "export:\n  source: a.pt\npackage:\n  triton: x\n  cpp: y": "line 3: package: say what to write: triton or cpp",
    "export:\n  source: a.pt\npackage:\n  cpp: y\n  kserve: true": "line 3: package: with cpp, force is the only other word",
    "": "is empty or no mapping",
    "- a\n- b": "is empty or no mapping",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_named_with_its_line(text: str, tmp_path: Path) -> None:
    file = recipe(tmp_path, text)
    with pytest.raises(ArtifactError) as error:
        read(file)
    said = str(error.value)
    assert said.startswith(str(file))
    assert MISTAKES[text] in said
    assert "\n" not in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot read .*none\.yaml: No such file or directory"):
        read(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArtifactError, match=r"bytes\.yaml"):
        read(tmp_path / "bytes.yaml")
