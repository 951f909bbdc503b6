"""Atheris: no bytes make the readers of manifests, configurations' texts or file names do anything but answer or refuse.

python tests/fuzz_manifest.py [libFuzzer options, such as -max_total_time=60]
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["se_deploy"]):
    from se_deploy import artifacts
    from se_deploy.artifacts import EngineManifest, ModelManifest, Scales
    from se_deploy.deploy import config, contract, ensemble, sample
    from se_deploy.deploy.pbtxt import text
    from se_deploy.errors import SeDeployError
    from se_deploy.files import inside

FOLDER = Path(tempfile.mkdtemp())
warnings.simplefilter("error")
KINDS = (EngineManifest, ModelManifest, Scales)


def one(data: bytes) -> None:
    """Reads the bytes as each kind of manifest; what reads is put through all that `package` derives from it."""
    file = FOLDER / "manifest.json"
    file.write_bytes(data)
    for kind in KINDS:
        try:
            made = artifacts.read(kind, file)
        except SeDeployError:
            continue
        if isinstance(made, EngineManifest):
            packaged(made)
    name = data.decode("utf-8", "replace")
    text({"name": name})
    with contextlib.suppress(SeDeployError):
        assert inside(FOLDER, name).resolve().is_relative_to(FOLDER.resolve())


def packaged(manifest: EngineManifest) -> None:
    """The configuration of a manifest, or a refusal."""
    with contextlib.suppress(SeDeployError):
        told = contract.contract(manifest)
        config.network("fuzzed", manifest, told, 1)
        if manifest.plugin is not None:
            inside(FOLDER, manifest.plugin.file)
        ensemble.check(manifest, told)
        sample.samples(manifest)


VALUES = (None, True, 0, 1, -1, 3, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, "", "x", "float16", "../x", "a\0b", [], [1], [0, 0, 0], {}, "N")


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """Half of the time another value in a random place of the JSON, so that what stands behind the reader is reached; else libFuzzer's."""
    dice = random.Random(seed)
    try:
        made = json.loads(data)
    except (ValueError, RecursionError):
        made = None
    if not isinstance(made, dict) or dice.random() < 0.5:
        return bytes(atheris.Mutate(data, most))
    for _ in range(dice.choice((1, 1, 2, 4))):
        change(made, dice)
    return json.dumps(made).encode()[:most]


def change(tree: object, dice: random.Random) -> None:
    """Walks down to a random leaf or branch, and replaces, drops or doubles it."""
    while isinstance(tree, dict | list) and tree:
        key = dice.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        below = tree[key]
        if not isinstance(below, dict | list) or not below or dice.random() < 0.2:
            if dice.random() < 0.1:
                del tree[key]
            elif isinstance(tree, list) and dice.random() < 0.2:
                tree.append(copy.deepcopy(below))
            else:
                tree[key] = copy.deepcopy(dice.choice(VALUES))
            return
        tree = below


if __name__ == "__main__":
    atheris.Setup(sys.argv, one, custom_mutator=mutated)
    atheris.Fuzz()
