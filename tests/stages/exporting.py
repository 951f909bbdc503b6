"""What tests of `export` ask of it."""

from pathlib import Path
from typing import Any

import pytest

from se_deploy import artifacts
from se_deploy.artifacts import ModelManifest
from se_deploy.errors import SeDeployError
from se_deploy.stages.export import export


def manifest(folder: str | Path) -> ModelManifest:
    return artifacts.read(ModelManifest, Path(folder) / "manifest.json")


def refused(source: Any, kind: type[SeDeployError], reason: str, **options: Any) -> None:
    """One line with the reason; nothing left behind."""
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(kind, match=reason) as caught:
        export(source, **options)
    assert "\n" not in str(caught.value)
    assert sorted(path for path in Path.cwd().rglob("*") if path.name != "engines") == before
