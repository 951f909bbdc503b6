"""KServe's own description of its types, read from its Python client's sources: which keys there are, of which types, and which must be."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.serving import environment

#: What Kubernetes' types, which are another package's, hold of what we write.
OTHERS = {"V1ObjectMeta": {"name", "namespace", "annotations", "labels"}, "V1ResourceRequirements": {"requests", "limits", "claims"}}


def faults(value: object, kind: str, where: str = "") -> list[str]:
    """What in a value contradicts a type such as `V1beta1InferenceService`."""
    if kind in ("str", "int", "bool"):
        return [] if type(value).__name__ == kind else [f"{where} is {value!r}, not {kind}"]
    if listed := re.fullmatch(r"list\[(.+)\]", kind):
        items = value if isinstance(value, list) else []
        return [f for n, item in enumerate(items) for f in faults(item, listed[1], f"{where}[{n}]")] or (
            [] if items else [f"{where}: no list"]
        )
    if not isinstance(value, dict):
        return [f"{where} is {value!r}, not {kind}"]
    if kind in OTHERS:
        return [f"{where}.{key} is unknown" for key in value if key not in OTHERS[kind]]
    types, names, required = described(kind)
    known = {names[field]: types[field] for field in types}
    wrong = [f"{where}.{key} is unknown" for key in value if key not in known]
    wrong += [f"{where}.{names[field]} is missing" for field in required if names[field] not in value]
    return wrong + [f for key, item in value.items() if key in known for f in faults(item, known[key], f"{where}.{key}")]


def described(kind: str) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """A type's fields with their types, their names in JSON, and those that must be there."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()
    file = environment.made() / "kserve" / "kserve" / "models" / f"{snake}.py"
    source = Path(file).read_text()
    tables = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict)
    }
    return tables["openapi_types"], tables["attribute_map"], set(re.findall(r"Invalid value for `(\w+)`, must not be `None`", source))
