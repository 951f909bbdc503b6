"""What `run` reads: a YAML file with a section for each stage, whose keys are the words of that stage's function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

import se_deploy
from se_deploy.artifacts import Precision
from se_deploy.backends import NAMES
from se_deploy.errors import ArtifactError, Contradiction
from se_deploy.stages.steps import asked
from se_deploy.stages.steps.lines import Lined, load

#: Words of a stage that `run` sets itself.
_OURS = {
    "export": {"output", "force", "progress"},
    "calibrate": {"model", "output", "shard", "resume", "progress"},
    "build": {"model", "fp32", "fp16", "int8", "calib", "scales", "backend", "output", "force", "progress"},
    "bench": {"engines", "batch", "progress"},
    "package": {"engine", "force", "progress"},
}
BACKENDS = ("auto", *NAMES)


class Section(BaseModel):
    """A section; unknown keys are refused, so that a typo is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def words(self) -> dict[str, Any]:
        """What was written, as keyword arguments."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class Matrix(Section):
    """Every precision on every backend is built, and benched at every batch size; precisions left out is the backend's own default."""

    precisions: tuple[Precision, ...] | None = Field(default=None, min_length=1)
    backends: tuple[str, ...] = Field(default=("auto",), min_length=1)
    batches: tuple[int, ...] | None = Field(default=None, min_length=1)


class Recipe(Section):
    """A whole file. `model` is the model's directory, engines/<stem of the source> where it is left out."""

    model: str | None = None
    export: Any
    calibrate: Any = None
    build: Any = None
    matrix: Matrix = Matrix()
    bench: Any = None
    package: Any = None

    @property
    def int8(self) -> bool:
        """Whether scales are needed."""
        return "int8" in (self.matrix.precisions or ())


def read(path: Path) -> Recipe:
    """Reads and checks a recipe.

    Raises:
        ArtifactError: names the line and the key of the first mistake.
    """
    found = load(path)
    # `bench:` with nothing below it asks for a bench.
    lined = replace(found, values={key: {} if value is None else value for key, value in found.values.items()})
    try:
        recipe = _schema().model_validate(lined.values)
    except ValidationError as error:
        raise _said(lined, error) from error
    _check(lined, recipe)
    return recipe


def stage(name: str) -> Callable[..., Any]:
    """The public function of a stage."""
    found: Callable[..., Any] = getattr(se_deploy, name)
    return found


def _schema() -> type[Recipe]:
    """The sections' fields are the functions' own, so that the two cannot differ."""
    fields: dict[str, Any] = {name: (section(name) | None, None) for name in ("calibrate", "build", "bench")}
    if "package" in se_deploy.__all__:
        engine = (str | None, Field(default=None, description="a cell of the matrix, such as onnxruntime-int8"))
        fields["package"] = (section("package", {"engine": engine}) | None, None)
    return create_model("Recipe", __base__=Recipe, export=(section("export"), ...), **fields)


def section(name: str, more: Mapping[str, Any] | None = None) -> type[Section]:
    """The fields of a stage's section: the function's arguments but for those that `run` sets."""
    function = stage(name)
    hints = get_type_hints(function)
    fields: dict[str, Any] = dict(more or {})
    for word, parameter in inspect.signature(function).parameters.items():
        if word not in _OURS[name]:
            fields[word] = (hints[word], ... if parameter.default is inspect.Parameter.empty else parameter.default)
    return create_model(name.capitalize(), __base__=Section, **fields)


def _said(lined: Lined, error: ValidationError) -> ArtifactError:
    """The first mistake in the file's order, as a sentence."""
    found = min(error.errors(), key=lambda e: lined.line(e["loc"]))
    where = _way(lined, found["loc"])
    message = f"{lined.path}, line {lined.line(found['loc'])}: {where or 'the file'}: {_words(found)}"
    known = _known(where.split(".")[0]) if found["type"] == "extra_forbidden" and "." in where else None
    hint = f"`{where.split('.')[0]}` takes {', '.join(known)}" if known else "correct the line; the README has the schema"
    return ArtifactError(message, hint)


def _way(lined: Lined, loc: tuple[str | int, ...]) -> str:
    """The keys that a mistake is at: those of the file, and one more where a key is missing; not pydantic's names of types."""
    parts: list[str] = []
    value = lined.values
    for part in loc:
        known = (isinstance(value, Mapping) and part in value) or (isinstance(value, list) and isinstance(part, int) and part < len(value))
        if not known:
            if isinstance(value, Mapping) and isinstance(part, str) and part.isidentifier():
                parts.append(part)
            break
        parts.append(str(part))
        value = value[part]
    return ".".join(parts)


def _words(found: Any) -> str:
    match found["type"]:
        case "extra_forbidden":
            return "no such key"
        case "missing":
            return "is missing"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "is to be a section, with keys below it"
    return f"{found['msg'][:1].lower()}{found['msg'][1:]}"


def _known(name: str) -> list[str] | None:
    if name == "matrix":
        return list(Matrix.model_fields)
    return list(section(name).model_fields) if name in _OURS and name in se_deploy.__all__ else None


def _check(lined: Lined, recipe: Recipe) -> None:
    """What no single field can tell."""

    def refuse(where: tuple[str, ...], what: str, hint: str) -> ArtifactError:
        return ArtifactError(f"{lined.path}, line {lined.line(where)}: {what}", hint)

    for name in recipe.matrix.backends:
        if name not in BACKENDS:
            raise refuse(("matrix", "backends"), f"no backend is called {name!r}", f"take {', '.join(BACKENDS)}")
    if recipe.package is not None and "package" not in se_deploy.__all__:
        raise refuse(("package",), "this version of se-deploy has no package", "leave the section out")
    if any(batch < 1 for batch in recipe.matrix.batches or ()):
        raise refuse(("matrix", "batches"), "a batch has at least one row", "write sizes of 1 and more")
    if recipe.int8 and recipe.calibrate is None:
        raise refuse(
            ("matrix", "precisions"), "int8 needs scales, and they are never made from random data", "add `calibrate:` with `calib:`"
        )
    for section, rule in _rules(recipe):
        try:
            rule()
        except Contradiction as error:
            raise refuse((section,), f"{section}: {error}", "correct the section") from error


def _rules(recipe: Recipe) -> Iterator[tuple[str, Callable[[], object]]]:
    """Which words exclude each other, by section: what the stages themselves ask, before any of them has worked."""
    if recipe.build is not None and recipe.int8:
        words = recipe.build.words()
        yield "build", partial(asked.bound, words.get("max_drop"), words.get("min_agreement"), words.get("data"), True)
    if recipe.package is not None:
        yield "package", partial(asked.package, **{word: value for word, value in recipe.package.words().items() if word != "engine"})
