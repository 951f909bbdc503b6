"""The plugin in a real TensorRT-RTX: every variant a layer in every type, fields there and back, what it refuses and what it says."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.artifacts import InputSpec, silent
from se_deploy.backends import Made, Wanted
from se_deploy.backends.plugin import library, sources
from se_deploy.backends.tensorrt import RTX, TensorRT
from se_deploy.errors import BackendError
from se_deploy.op import VARIANTS, Variant
from tests.backends.tensorrt import many
from tests.backends.tensorrt.bound import BOUND, bound
from tests.backends.tensorrt.running import in_rtx

C, R = 32, 8
NUMBERS = {"alpha": 0.25, "beta": 0.5, "leak": 0.1, "x_scale": 0.05, "residual_scale": 0.05, "y_scale": 0.05}


def chain(variants: list[Variant], kind: int, spatial: tuple[int, ...] = (6, 6)) -> ModelProto:
    """All these nodes one behind the other, in one type."""
    rng = np.random.default_rng(0)
    ends = TensorProto.FLOAT
    weights: dict[str, np.ndarray] = {}
    nodes = [helper.make_node("Cast", ["x"], ["typed"], "cast", to=kind)]
    if kind == TensorProto.INT8:
        weights |= {"scale": np.float32(0.05), "zero": np.int8(0)}
        nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["typed"], "quantize")]
    before = "typed"
    for number, variant in enumerate(variants):
        columns = C if variant.act == "none" else R
        sizes = {"w1": (R, C), "b1": (R,), "w2": (C, columns), "b2": (C,), "slope": (R,)}
        inputs = []
        for name in variant.inputs:
            if name in sizes:
                weights[f"{number}.{name}"] = rng.standard_normal(sizes[name]).astype(np.float32)
            inputs.append(f"{number}.{name}" if name in sizes else before)
        nodes.append(op.make_node(variant, inputs, f"y{number}", f"se{number}", {key: NUMBERS[key] for key in variant.attributes}))
        before = f"y{number}"
    last = helper.make_node("Cast", [before], ["y"], "back", to=ends)
    if kind == TensorProto.INT8:
        last = helper.make_node("DequantizeLinear", [before, "scale", "zero"], ["y"], "back")
    shape = ["N", C, *spatial]
    graph = helper.make_graph(
        [*nodes, last],
        "chain",
        [helper.make_tensor_value_info("x", ends, shape)],
        [helper.make_tensor_value_info("y", ends, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    op.declare(model)
    return model


def built(model: ModelProto, folder: Path) -> Made:
    onnx.save(model, folder / "m.onnx")
    shape = tuple(d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    spec = InputSpec(name="x", dtype="float32", shape=shape, **{k: (n, *shape[1:]) for k, n in {"min": 1, "opt": 8, "max": 32}.items()})
    return TensorRT(RTX).build(folder / "m.onnx", folder / "e.plan", silent, Wanted(inputs=(spec,), targets=("sm_89",)))


FLOATS, INTEGERS = ([v for v in VARIANTS.values() if v.int8 == int8] for int8 in (False, True))


@pytest.mark.parametrize(
    ("kind", "variants"),
    [
        (TensorProto.FLOAT, FLOATS),
        (TensorProto.FLOAT16, FLOATS),
        (TensorProto.BFLOAT16, FLOATS),
        (TensorProto.INT8, INTEGERS),
    ],
    ids=["float", "half", "bfloat16", "int8"],
)
def test_every_variant_is_a_layer_in_every_type(kind: int, variants: list[Variant], tmp_path: Path, plugin: Path) -> None:
    assert len(variants) == 324
    assert built(chain(variants, kind), tmp_path).plugin.layers == 324


@pytest.mark.parametrize("spatial", [(9,), (3, 4, 5)])
def test_maps_of_one_and_three_dimensions(spatial: tuple[int, ...], tmp_path: Path, plugin: Path) -> None:
    for kind, int8 in ((TensorProto.FLOAT16, False), (TensorProto.INT8, True)):
        assert built(chain([Variant(skip="add", int8=int8)] * 2, kind, spatial), tmp_path).plugin.layers == 2


def test_the_library_has_a_creator_for_every_variant_and_no_other(plugin: Path) -> None:
    about = library.described(plugin)
    assert about.creators == tuple(VARIANTS)
    assert about.version == op.PLUGIN_VERSION
    assert about.architectures == (*(f"sm_{a}" for a in sources.ARCHITECTURES), f"compute_{sources.PTX}")


def test_the_library_needs_no_tensorrt_and_shows_three_functions(plugin: Path) -> None:
    def symbols(which: str) -> list[list[str]]:
        done = subprocess.run(["nm", "-D", which, str(plugin)], capture_output=True, text=True, check=True)
        return [line.split() for line in done.stdout.splitlines()]

    assert sorted(line[-1] for line in symbols("--defined-only")) == ["getCreators", "seDeployPlugin", "setLoggerFinder"]
    undefined = [line[-1] for line in symbols("--undefined-only") if line[0] == "U"]
    assert [name for name in undefined if "@GLIBC" not in name] == []
    needed = subprocess.run(["readelf", "-d", str(plugin)], capture_output=True, text=True, check=True).stdout
    assert {line.split("[")[1][:-1] for line in needed.splitlines() if "(NEEDED)" in line} <= {"libc.so.6", "ld-linux-x86-64.so.2"}


def test_a_process_that_opens_the_library_has_its_creators(plugin: Path) -> None:
    code = """
import ctypes
ctypes.CDLL(sys.argv[1])
print(len([c for c in registry.all_creators if c.plugin_namespace == NAMESPACE]), log.said)
"""
    assert in_rtx(code, plugin) == "648 []\n"


FIELDS = """
assert registry.load_library(sys.argv[1]) is not None
creator = registry.get_creator("SqueezeExcite_leaky_hardsigmoid_skip_none_then_none", "1", NAMESPACE)
import numpy as np
def field(name, value, kind=trt.PluginFieldType.FLOAT32):
    return trt.PluginField(name, np.asarray([value], np.float32 if kind == trt.PluginFieldType.FLOAT32 else np.int32), kind)
given = {"alpha": 0.25, "beta": 0.5, "leak": 0.125}
def make(phase, *fields):
    log.said.clear()
    return creator.create_plugin("node", trt.PluginFieldCollection(list(fields)), phase)
BUILD, RUNTIME = trt.TensorRTPhase.BUILD, trt.TensorRTPhase.RUNTIME
"""


def test_a_plugin_is_made_from_a_nodes_fields_and_from_an_engines(plugin: Path) -> None:
    code = """
print([f.name for f in creator.field_names])
print(make(BUILD, *(field(k, v) for k, v in given.items())) is not None, log.said)
print(make(RUNTIME, field("format", 1, trt.PluginFieldType.INT32), *(field(k, v) for k, v in given.items())) is not None, log.said)
"""
    assert in_rtx(FIELDS + code, plugin) == "['alpha', 'beta', 'leak']\nTrue []\nTrue []\n"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("make(BUILD, field('alpha', 0.25), field('beta', 0.5))", "the attribute leak is missing"),
        ("make(BUILD, field('alpha', 1, trt.PluginFieldType.INT32))", "the attribute alpha is not one float"),
        ("make(BUILD, field('alpha', float('nan')))", "the attribute alpha is not finite"),
        ("make(RUNTIME, *(field(k, v) for k, v in given.items()))", "the engine's fields have no format; build the engine again"),
        (
            "make(RUNTIME, field('format', 2, trt.PluginFieldType.INT32))",
            "the engine's fields are of format 2, this plugin reads 1",
        ),
    ],
)
def test_a_wrong_field_is_a_message_in_the_log_and_no_plugin(call: str, said: str, plugin: Path) -> None:
    name = "SqueezeExcite_leaky_hardsigmoid_skip_none_then_none"
    printed = in_rtx(FIELDS + f"print({call}, log.said)", plugin)
    assert printed == f"None {[('ERROR', f'se_deploy: node ({name}): {said}')]!r}\n"


def _weight_of_another_type(model: ModelProto) -> None:
    weight = next(t for t in model.graph.initializer if t.name == "0.w1")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), "0.w1"))


def _residual_of_another_size(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, ["N", C, 6, 5]))
    model.graph.node[1].input[5] = "r"


def _scale_of_zero(model: ModelProto) -> None:
    next(a for a in model.graph.node[1].attribute if a.name == "x_scale").f = 0.0


@pytest.mark.parametrize(
    ("change", "int8", "said"),
    [
        (_weight_of_another_type, False, r"input 1 \(a weight\) is not float"),
        (_residual_of_another_size, False, r"the residual is \(1, 32, 6, 5\), x is \(1, 32, 6, 6\)"),
        (_scale_of_zero, True, "the attribute x_scale is not above 0"),
    ],
)
def test_what_the_plugin_refuses_is_told_with_its_reason(
    change: Callable[[ModelProto], None], int8: bool, said: str, tmp_path: Path, plugin: Path
) -> None:
    model = chain([Variant(skip="add", int8=int8)], TensorProto.INT8 if int8 else TensorProto.FLOAT)
    change(model)
    with pytest.raises(BackendError, match=said):
        built(model, tmp_path)


@pytest.mark.parametrize(("dtype", "layout"), BOUND)
def test_a_networks_ends_are_bound_in_every_format_of_the_kernels(dtype: str, layout: str, tmp_path: Path, plugin: Path) -> None:
    done = bound(RTX, many.cases(dtype, layout, ("none", "prelu")), tmp_path, plugin)
    assert done.stdout.splitlines()[-1:] == ["72 True"], done.stdout + done.stderr
