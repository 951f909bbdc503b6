"""The README beside a packaged model: the command that starts the server, and how to ask it."""

from __future__ import annotations

from collections.abc import Sequence

from se_deploy.artifacts import EngineManifest
from se_deploy.deploy.contract import Contract, Tensor


def start(repository: str, image: str, options: Sequence[str], gpu: bool) -> str:
    """The command that serves a repository, a folder of the working directory, with a container."""
    words = ["docker run --rm", *(["--gpus=all"] if gpu else []), "--shm-size=256m -p 8000:8000 -p 8001:8001 -p 8002:8002"]
    return " ".join([*words, f'-v "$PWD/{repository}:/models"', image, "tritonserver --model-repository=/models", *options])


def readme(name: str, manifest: EngineManifest, contract: Contract, commands: Sequence[str]) -> str:
    """The text; `commands` start the server, `name` is the model that takes the requests."""
    batch = f"up to {contract.max_batch} rows, stacked by the server" if contract.max_batch else "part of the shape"
    started = "\n".join(f"    {command}" for command in commands)
    return f"""# {name}

Written by se-deploy from `{manifest.source.file}`: {manifest.backend}, {manifest.precision}, {manifest.se_blocks} SE blocks.

Start the server, in the folder that holds the repository:

{started}

Ask it (the extra `se-deploy[triton]` has the client's libraries):

    se-deploy client http://127.0.0.1:8000 {name} imgs/

The network:

| | name | type | shape | |
|---|---|---|---|---|
{_rows(contract.inputs, "input", "")}{_rows(contract.outputs, "output", contract.scores)}
Batch: {batch}. The preprocessing that the network wants is the parameter `preprocess` of `config.pbtxt`; the manifest in each version's
folder says what the engine was made of.
"""


def _rows(tensors: Sequence[Tensor], kind: str, scores: str | None) -> str:
    return "".join(f"| {kind} | `{t.name}` | {t.type} | {list(t.dims)} | {'scores' if t.name == scores else ''} |\n" for t in tensors)
