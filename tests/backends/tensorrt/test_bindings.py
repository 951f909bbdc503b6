"""Every class, flag, member and number of arguments that our code uses is there in TensorRT 10, 11 and RTX. Introspection, not a run."""

import ast
import json
from pathlib import Path

import pytest

from se_deploy.backends import tensorrt
from tests.backends.tensorrt import bindings
from tests.backends.tensorrt.running import in_rtx

FILES = sorted(Path(tensorrt.__file__).parent.glob("*.py"))

#: What our code asks of TensorRT's objects, and what Polygraphy asks for what we pass to it.
MEMBERS: dict[str, tuple[str, ...]] = {
    "IPluginRegistry": ("load_library", "get_creator"),
    "OnnxParser": ("parse_from_file", "num_errors", "get_error"),
    "ParserError": ("desc", "node_name", "node_operator"),
    "INetworkDefinition": ("num_layers", "get_layer"),
    "ILayer": ("name", "type", "num_inputs", "num_outputs", "get_input", "get_output"),
    "ITensor": ("name", "dtype", "shape"),
    "IBuilderConfig": (
        "plugins_to_serialize", "progress_monitor", "hardware_compatibility_level", "set_flag", "add_optimization_profile",
        "create_timing_cache", "set_timing_cache", "get_timing_cache", "profiling_verbosity",
    ),
    "Builder": ("create_network", "create_builder_config", "create_optimization_profile", "build_serialized_network"),
    "BuilderFlag": ("REFIT", "VERSION_COMPATIBLE", "TF32"),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
    "Runtime": ("engine_host_code_allowed", "deserialize_cuda_engine"),
    "ICudaEngine": (
        "create_execution_context", "num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_shape", "get_tensor_dtype",
        "get_tensor_profile_shape",
    ),
    "IExecutionContext": ("set_input_shape", "set_tensor_address", "get_tensor_shape", "execute_async_v3"),
    "IPluginV3": ("clone",),
}  # fmt: skip
RTX_ONLY = {
    "IBuilderConfig": ("num_compute_capabilities", "set_compute_capability"),
    "ComputeCapability": ("SM75", "SM89", "SM120", "SM121"),
}

TELL = """
import json, sys
import {module} as trt
def member(path):
    found = trt
    for part in path.split("."):
        found = getattr(found, part, None)
    return None if found is None else (found.__doc__ or "")
print(json.dumps({{path: member(path) for path in json.loads(sys.argv[1])}}))
"""
MODULES = ["10", "11", "rtx"]


def told(which: str, paths: list[str]) -> dict[str, str | None]:
    """Each member's docstring, in which pybind11 writes its signatures; None where there is none."""
    if which == "rtx":
        return json.loads(in_rtx(TELL.format(module="tensorrt_rtx"), json.dumps(paths)))
    return json.loads(bindings.python(int(which), TELL.format(module="tensorrt"), json.dumps(paths)))


def chains() -> set[str]:
    """Every `trt.X.Y` in our code, however the module is reached there."""
    found = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            for start in ("trt.", "parsed.trt.", "self._trt."):
                if text.startswith(start):
                    found.add(text.removeprefix(start))
    return {chain for chain in found if "(" not in chain and not chain.endswith("__init__")} - {"__name__", "__name__.startswith"}


def calls() -> dict[str, int]:
    """Members that our code calls -> with how many arguments, at most."""
    names = {member for members in MEMBERS.values() for member in members} - {"name", "type", "dtype", "shape"}  # NumPy's and Python's too
    found: dict[str, int] = {}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
                found[node.func.attr] = max(found.get(node.func.attr, 0), len(node.args) + len(node.keywords))
    return found


@pytest.mark.parametrize("which", MODULES)
def test_every_name_that_we_use_is_there(which: str) -> None:
    used = chains()
    assert {"OnnxParser", "LayerType.PLUGIN_V3", "HardwareCompatibilityLevel.AMPERE_PLUS", "get_plugin_registry", "Runtime"} <= used
    paths = sorted(used | {f"{owner}.{member}" for owner, members in MEMBERS.items() for member in members})
    if which == "rtx":
        paths += [f"{owner}.{member}" for owner, members in RTX_ONLY.items() for member in members]
    missing = [path for path, text in told(which, paths).items() if text is None]
    assert missing == []


@pytest.mark.parametrize("which", MODULES)
def test_every_call_of_ours_fits_a_signature(which: str) -> None:
    owners = {member: owner for owner, members in MEMBERS.items() for member in members}
    given = calls()
    assert {"load_library", "get_creator", "get_error", "execute_async_v3", "get_tensor_profile_shape"} <= set(given)
    texts = told(which, [f"{owners[member]}.{member}" for member in given])
    for member, count in given.items():
        signature = texts[f"{owners[member]}.{member}"] or ""
        taken = [line.partition("(")[2].rpartition(")")[0] for line in signature.splitlines() if f"{member}(self" in line]
        sizes = {len([part for part in line.split(", ") if ":" in part]) - 1 for line in taken}
        assert any(count <= size for size in sizes), f"{member} takes {sizes} arguments in TensorRT {which}, we give {count}"


@pytest.mark.parametrize("major", [10, 11])
def test_the_versions_are_those_that_we_say(major: int) -> None:
    assert bindings.python(major, "import tensorrt; print(tensorrt.__version__)").startswith(f"{major}.")


@pytest.mark.parametrize("major", [10, 11])
def test_polygraphy_takes_what_we_pass_to_it(major: int) -> None:
    code = """
import tensorrt as trt
from polygraphy.backend.trt import CreateConfig, Profile, create_network, engine_bytes_from_network
CreateConfig(tf32=True, profiles=[Profile().add("x", (1, 3), (8, 3), (32, 3))], refittable=True, version_compatible=True,
             progress_monitor=None, load_timing_cache=None, hardware_compatibility_level=trt.HardwareCompatibilityLevel.AMPERE_PLUS)
print("taken")
"""
    assert bindings.python(major, code).endswith("taken\n")


@pytest.mark.parametrize(("major", "there"), [(10, True), (11, False)])
def test_the_flags_that_tensorrt_11_dropped_are_not_used(major: int, there: bool) -> None:
    """Precision is in the file's types: what 11 took away is no loss."""
    paths = ["BuilderFlag.FP16", "BuilderFlag.INT8", "IInt8EntropyCalibrator2"]
    assert [text is not None for text in told(str(major), paths).values()] == [there] * 3
    assert not {"BuilderFlag.FP16", "BuilderFlag.INT8"} & chains()
