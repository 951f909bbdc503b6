"""`weights.safetensors`: what the live PyTorch reference is built of, without the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn


def save_weights(module: nn.Module, arch: str, kwargs: dict[str, Any], path: Path) -> None:
    """Writes a module's state; the metadata `arch` and `kwargs` (JSON) say how `build` makes the module that takes it."""
    seen: set[int] = set()
    state: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        own = tensor.detach()
        # safetensors takes no two names for one memory, and no views.
        whole = own.is_contiguous() and own.untyped_storage().nbytes() == own.nbytes and own.data_ptr() not in seen
        state[name] = own if whole else own.clone().contiguous()
        seen.add(own.data_ptr())
    save_file(state, path, metadata={"arch": arch, "kwargs": json.dumps(kwargs)})
    path.chmod(0o644)  # like everything else that is written; safetensors takes the owner's alone
