"""Imports go one way: cli -> stages -> rooms -> leaves (DESIGN.md); rooms do not know each other."""

import ast
from pathlib import Path

import pytest

import se_deploy

PACKAGE = Path(se_deploy.__file__).parent
LEAVES = {"op", "images", "files", "artifacts", "errors"}
ROOMS = {"deploy", "verify", "insight", "quant", "graph", "networks", "backends"}
ALLOWED = {
    "cli": {"cli", "stages", *LEAVES},
    "stages": {"stages", *ROOMS, *LEAVES},
    **{room: {room, *LEAVES} for room in ROOMS},
    **dict.fromkeys(LEAVES, LEAVES),
    "__main__": {"cli"},
    "__init__": {"stages"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The parts of se_deploy that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = {name.split(".")[1] for name in names if name.startswith("se_deploy.")}
    return {part for part in parts if (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert home in ALLOWED, f"{home} is in no layer of DESIGN.md"
    assert imported(path) <= ALLOWED[home]


def test_every_layer_is_there() -> None:
    assert len(FILES) > 20
    assert {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name[0] != "_"} == {"cli", "stages", *ROOMS}
