"""`package --triton`: what is written, what is refused, and that nothing is ever half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from se_deploy import artifacts, package
from se_deploy.artifacts import EngineManifest, Preprocess
from se_deploy.deploy import repository
from se_deploy.errors import ArtifactError, Contradiction, PackageError, SeDeployError
from se_deploy.files import sha256
from tests.deploy.schema import faults
from tests.serving import engines


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def config(folder: Path) -> triton.ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(), triton.ModelConfig())


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engines.engine(tmp_path_factory.mktemp("built"))


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return engines.plan(tmp_path)


def test_an_engine_of_onnx_runtime_becomes_a_model(engine: Path, tmp_path: Path) -> None:
    made = package(engine, triton=tmp_path / "models")
    folder = tmp_path / "models" / "small"
    assert (made.output, made.backend, made.se_blocks) == (folder, "onnxruntime", 2)
    assert set(tree(folder)) == {"config.pbtxt", "labels.txt", "README.md", "1/model.onnx", "1/manifest.json", "warmup/input_0"}
    told = config(folder)
    assert (told.name, told.platform, told.default_model_filename, told.max_batch_size) == ("small", "onnxruntime_onnx", "model.onnx", 32)
    assert [(p.name, p.data_type, list(p.dims)) for p in told.input] == [("x", triton.TYPE_FP32, [3, 32, 32])]
    assert [(p.name, p.data_type, list(p.dims), p.label_filename) for p in told.output] == [("y", triton.TYPE_FP32, [10], "labels.txt")]
    assert list(told.dynamic_batching.preferred_batch_size) == [8, 32]
    assert [(group.count, group.kind) for group in told.instance_group] == [(1, triton.ModelInstanceGroup.KIND_CPU)]
    assert [sample.batch_size for sample in told.model_warmup] == [1, 8, 32]
    assert (
        Preprocess.model_validate_json(told.parameters["preprocess"].string_value)
        == artifacts.read(EngineManifest, engine.with_name("engine.onnx.json")).preprocess
    )
    assert (folder / "labels.txt").read_text().splitlines() == list(engines.LABELS)
    assert np.isfinite(np.frombuffer((folder / "warmup/input_0").read_bytes(), np.float32).reshape(3, 32, 32)).all()
    assert (folder / "1/model.onnx").read_bytes() == engine.read_bytes()
    described = artifacts.read(EngineManifest, folder / "1/manifest.json")
    assert described.engine.file == "model.onnx"
    assert described.engine.sha256 == sha256(folder / "1/model.onnx")


def test_a_plan_goes_to_the_gpu_with_its_plugin_and_its_container(plan: Path, tmp_path: Path) -> None:
    package(plan, triton=tmp_path / "models", instances=2)
    folder = tmp_path / "models" / "planned"
    assert set(tree(folder / "1")) == {"model.plan", "manifest.json", "libse_plugin.so"}
    told = config(folder)
    assert (told.platform, told.default_model_filename) == ("tensorrt_plan", "model.plan")
    assert [(group.count, group.kind) for group in told.instance_group] == [(2, triton.ModelInstanceGroup.KIND_GPU)]
    text = (folder / "README.md").read_text()
    assert "docker run --rm --gpus=all" in text
    assert "nvcr.io/nvidia/tritonserver:25.10-py3 tritonserver --model-repository=/models" in text
    assert "--backend-config=tensorrt,plugins=/models/planned/1/libse_plugin.so" in text


@pytest.mark.parametrize(
    ("version", "tag"),
    [("10.13.2.6", "25.08"), ("10.14.1.48", "25.12"), ("10.7.0.23", "24.12"), ("10.13.9.1", "25.10"), ("10.3.0", "24.08")],
)
def test_the_container_is_the_one_that_carries_the_plans_tensorrt(tmp_path: Path, version: str, tag: str) -> None:
    made = package(engines.plan(tmp_path, version=version), triton=tmp_path / "models")
    assert f"tritonserver:{tag}-py3" in (tmp_path / "models/planned/README.md").read_text()
    assert any("the plan is of 10.13.9.1" in note for note in made.notes) == (version == "10.13.9.1")


def test_a_container_outside_the_table_is_taken_with_a_remark(tmp_path: Path) -> None:
    made = package(engines.plan(tmp_path, version="11.4.0.1"), triton=tmp_path / "models", container="27.01")
    assert "container 27.01 is not in this version's table: make sure that it carries TensorRT 11.4.0.1" in made.notes


def test_the_batch_is_the_graphs(engine: Path, tmp_path: Path) -> None:
    package(engines.engine(tmp_path, "fixed", batch=1), triton=tmp_path / "models")
    told = config(tmp_path / "models/fixed")
    assert (told.max_batch_size, list(told.input[0].dims), list(told.output[0].dims)) == (0, [1, 3, 32, 32], [1, 10])
    assert not told.HasField("dynamic_batching")
    assert [sample.batch_size for sample in told.model_warmup] == [1]
    package(engine, triton=tmp_path / "models", max_batch=8)
    told = config(tmp_path / "models/small")
    assert (told.max_batch_size, list(told.dynamic_batching.preferred_batch_size)) == (8, [8])
    package(engine, triton=tmp_path / "models", name="single", max_batch=1)
    assert not config(tmp_path / "models/single").HasField("dynamic_batching")


def test_an_ensemble_and_a_service_are_written_beside(plan: Path, tmp_path: Path) -> None:
    made = package(plan, triton=tmp_path / "models", ensemble=True, kserve=True, storage="s3://bucket/models")
    root = tmp_path / "models"
    assert made.output == root / "planned_images"
    assert sorted(path.name for path in root.iterdir()) == ["planned", "planned_images", "planned_preprocess"]
    around = config(root / "planned_images")
    assert [(step.model_name, dict(step.input_map), dict(step.output_map)) for step in around.ensemble_scheduling.step] == [
        ("planned_preprocess", {"image": "image"}, {"x": "preprocessed"}),
        ("planned", {"x": "preprocessed"}, {"y": "y"}),
    ]
    assert config(root / "planned_preprocess").backend == "python"
    docker = (root / "planned/Dockerfile").read_text().splitlines()
    assert docker[1] == "FROM nvcr.io/nvidia/tritonserver:25.10-py3"
    assert "pillow==" in docker[2]
    service = yaml.safe_load((root / "planned/inferenceservice.yaml").read_text())
    assert faults(service, "V1beta1InferenceService") == []
    assert service["spec"]["predictor"]["model"]["args"] == ["--backend-config=tensorrt,plugins=/mnt/models/planned/1/libse_plugin.so"]
    assert "docker build -t planned-triton - < models/planned/Dockerfile" in (root / "planned/README.md").read_text()


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"triton": "a", "cpp": "b"},
        {"cpp": "b", "ensemble": True},
        {"cpp": "b", "max_batch": 4},
        {"cpp": "b", "version": 2},
        {"triton": "a", "storage": "s3://x"},
    ],
)
def test_words_that_exclude_each_other_are_refused(engine: Path, words: dict[str, object]) -> None:
    with pytest.raises(Contradiction):
        package(engine, **words)


def test_a_cpp_project_is_written_beside_nothing_else(plan: Path, tmp_path: Path) -> None:
    folder = package(plan, cpp=tmp_path / "project").output
    assert {"CMakeLists.txt", "README.md", "runtime", "model"} == {path.name for path in folder.iterdir()}
    assert set(tree(folder / "model")) == {"engine.plan", "engine.plan.json", "libse_plugin.so"}
    assert not list(folder.rglob("fuzz"))
    before = tree(folder)
    with pytest.raises(PackageError, match="is there already; add --force"):
        package(plan, cpp=folder)
    (folder / "mine.cpp").write_text("int main() {}")
    (folder / "CMakeLists.txt").write_text("# mine")
    (folder / "model/old.plan").write_text("")
    package(plan, cpp=folder, force=True)
    assert tree(folder) == before | {"mine.cpp": b"int main() {}", "CMakeLists.txt": b"# mine"}
    with pytest.raises(PackageError, match="is there already; name another folder"):
        package(plan, cpp=tmp_path, force=True)
    with pytest.raises(PackageError, match="the C\\+\\+ loader opens no engine of openvino"):
        package(edited(plan, backend="openvino"), cpp=tmp_path / "other")


def edited(plan: Path, **update: object) -> Path:
    return engines.changed(plan, **update)


def scaled_input(manifest: EngineManifest, **update: object) -> dict[str, object]:
    return {"inputs": (manifest.inputs[0].model_copy(update=update),)}


REFUSED: dict[str, tuple[Callable[[Path], dict[str, object]], str]] = {
    "a batch above the profile's": (lambda e: {"engine": e, "max_batch": 64}, "--max-batch 64: the engine is built for batches up to 32"),
    "a batch on a fixed one": (
        lambda e: {"engine": engines.engine(e.parent.parent, "fixed", batch=1), "max_batch": 8},
        "--max-batch 8: the engine's batch is fixed at 1",
    ),
    "no single rows": (
        lambda e: {"engine": _with(e, min=(4, 3, 32, 32))},
        "the engine takes no batch below 4, and a server sends single ones too",
    ),
    "other sizes than the graph's": (
        lambda e: {"engine": _with(e, shape=("N", 3, 64, 64), **dict.fromkeys(("min", "opt", "max"), (1, 3, 64, 64)))},
        r"input x is float32 \['N', 3, 64, 64\] in the manifest and float32 \['N', 3, 32, 32\] in the graph",
    ),
    "another type than the graph's": (lambda e: {"engine": _with(e, dtype="float16")}, "input x is float16"),
    "a dynamic size that the graph fixes": (lambda e: {"engine": _with(e, shape=("N", 3, "H", 32))}, "input x is float32"),
    "another name than the graph's": (lambda e: {"engine": _with(e, name="z")}, r"the manifest names the input\(s\) z, the graph has x"),
    "a type that Triton lacks": (lambda e: {"engine": _with(e, dtype="complex64")}, "x is of type complex64, which Triton does not have"),
    "labels of another network": (lambda e: {"engine": edited(e, labels=("a", "b"))}, r"2 labels fit no output: y \['N', 10\]"),
    "an engine of openvino": (lambda e: {"engine": edited(e, backend="openvino")}, "no Triton repository for the openvino backend"),
    "a name with a slash": (lambda e: {"engine": e, "name": "../x"}, "'../x' cannot be a model's name"),
    "a name out of the manifest": (lambda e: {"engine": edited(e, name="../../x")}, "'../../x' cannot be a model's name"),
    "pictures of another size": (
        lambda e: {"engine": edited(e, preprocess=Preprocess(resize=64, crop=48)), "ensemble": True},
        r"the preprocessing makes pictures of \[3, 48, 48\], the network takes x float32",
    ),
    "an old container's python": (lambda e: {"engine": e, "ensemble": True, "container": "24.08"}, "--ensemble needs Python 3.11"),
    "three means for grey": (lambda e: {"engine": edited(e, preprocess=Preprocess(color="L"))}, "mean and std have 3 and 3 values for 1"),
    "a std of nothing": (lambda e: {"engine": edited(e, preprocess=Preprocess(std=(1, 0, 1)))}, "are no numbers to count with"),
    "a std that float32 rounds to nothing": (lambda e: {"engine": edited(e, preprocess=Preprocess(std=(1, 1e-50, 1)))}, "no numbers"),
    "a resize of a billion": (lambda e: {"engine": edited(e, preprocess=Preprocess(resize=10**9))}, "asks for 1000000000 pixels"),
    "a crop of nothing": (lambda e: {"engine": edited(e, preprocess=Preprocess(crop=(0, 5)))}, "asks for 0 pixels"),
    "no input": (lambda e: {"engine": edited(e, inputs=())}, "the manifest names no input or no output"),
    "a profile of another rank": (lambda e: {"engine": _with(e, opt=(1,))}, "has sizes that no request can have"),
    "a profile of terabytes": (lambda e: {"engine": _with(e, max=(2**40, 3, 32, 32))}, "has sizes that no request can have"),
    "a profile that is not the shape's": (lambda e: {"engine": _with(e, opt=(8, 3, 16, 32))}, "has sizes that no request can have"),
    "a container that is none": (lambda e: {"engine": e, "container": "latest"}, "--container latest: that is no container of Triton's"),
    "no engine": (lambda e: {"engine": e.with_name("none.onnx")}, "no engine"),
}


def _with(engine: Path, **update: object) -> Path:
    """The engine, its input in the manifest changed."""
    manifest = artifacts.read(EngineManifest, Path(f"{engine}.json"))
    return edited(engine, **scaled_input(manifest, **update))


@pytest.mark.parametrize("case", REFUSED)
def test_a_contradiction_is_refused_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    words, said = REFUSED[case]
    with pytest.raises(SeDeployError, match=said):
        package(**words(engines.engine(tmp_path / "built")), triton=tmp_path / "models")
    assert not (tmp_path / "models").exists()


PLANS: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "another major": ({"version": "11.4.0.1"}, {}, "no Triton container in this version's table carries TensorRT 11.4.0.1"),
    "another major asked for": (
        {"version": "11.4.0.1"},
        {"container": "25.10"},
        "the plan is of TensorRT 11.4.0.1, container 25.10 carries 10.13.3",
    ),
    "another minor asked for": ({}, {"container": "25.12"}, "the plan is of TensorRT 10.13.3.9, container 25.12 carries 10.14.1"),
    "tensorrt-rtx": ({"backend": "tensorrt-rtx", "version": "1.7.1"}, {}, "a stock Triton cannot load a TensorRT-RTX plan"),
}


@pytest.mark.parametrize("case", PLANS)
def test_a_plan_that_no_container_loads_is_refused(case: str, tmp_path: Path) -> None:
    made, words, said = PLANS[case]
    with pytest.raises(PackageError, match=said):
        package(engines.plan(tmp_path, **made), triton=tmp_path / "models", **words)
    assert not (tmp_path / "models").exists()


def test_a_missing_or_another_plugin_is_refused(plan: Path, tmp_path: Path) -> None:
    library = plan.with_name("libse_plugin.so")
    library.write_bytes(b"another")
    with pytest.raises(PackageError, match="is not the plugin that .* was built with"):
        package(plan, triton=tmp_path / "models")
    library.unlink()
    with pytest.raises(PackageError, match="needs the plugin .*libse_plugin.so, which is not there"):
        package(plan, triton=tmp_path / "models")


@pytest.mark.parametrize("file", ["../libse_plugin.so", "/etc/passwd", "sub/../../x.so", "", "link.so"])
def test_a_plugin_outside_the_engines_folder_is_refused(plan: Path, tmp_path: Path, file: str) -> None:
    plan.with_name("link.so").symlink_to("/etc/passwd")
    manifest = artifacts.read(EngineManifest, Path(f"{plan}.json"))
    edited(plan, plugin=manifest.plugin.model_copy(update={"file": file}))
    with pytest.raises(ArtifactError, match="which is not a file in that folder"):
        package(plan, triton=tmp_path / "models")


def test_a_plan_that_was_cut_off_is_refused(plan: Path, tmp_path: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="its SHA-256 differs"):
        package(plan, triton=tmp_path / "models")


def test_a_version_is_replaced_only_by_force_and_others_stay(engine: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    package(engine, triton=root)
    (root / "small/1/model.onnx").write_bytes(b"older")
    before = tree(root)
    with pytest.raises(PackageError, match="small has a version 1; add --force"):
        package(engine, triton=root)
    assert tree(root) == before
    package(engine, triton=root, version=2)
    assert (root / "small/1/model.onnx").read_bytes() == b"older"
    assert (root / "small/2/model.onnx").read_bytes() == engine.read_bytes()
    package(engine, triton=root, force=True)
    assert (root / "small/1/model.onnx").read_bytes() == engine.read_bytes()
    assert (root / "small/2/model.onnx").exists()


def test_a_configuration_tuned_by_hand_is_not_lost(engine: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    package(engine, triton=root)
    file = root / "small/config.pbtxt"
    file.write_text(file.read_text().replace("count: 1", "count: 3"))
    before = tree(root)
    with pytest.raises(PackageError, match="all versions share it"):
        package(engine, triton=root, version=2)
    assert tree(root) == before
    package(engine, triton=root, version=2, force=True)
    assert "count: 1" in file.read_text()


@pytest.mark.parametrize("what", ["a file", "a model", "another folder"])
def test_what_is_no_repository_is_left_alone(engine: Path, tmp_path: Path, what: str) -> None:
    root = tmp_path / "models"
    if what == "a file":
        root.write_text("")
    elif what == "a model":
        root.mkdir()
        (root / "config.pbtxt").write_text("")
    else:
        (root / "small").mkdir(parents=True)
        (root / "small" / "precious").write_text("")
    with pytest.raises(PackageError, match="is a file|is a model, not a repository|is no Triton model"):
        package(engine, triton=root)


def test_if_one_model_of_three_fails_none_is_there(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "models"
    package(engine, triton=root)
    before = tree(root)
    swap = repository._swap

    def failing(new: Path, target: Path) -> tuple[Path, Path | None]:
        if target.name == "small_images":
            raise OSError(28, "No space left on device")
        return swap(new, target)

    monkeypatch.setattr(repository, "_swap", failing)
    with pytest.raises(PackageError, match=f"cannot write {root}: No space left on device"):
        package(engine, triton=root, ensemble=True, force=True)
    assert tree(root) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models"]


def test_a_killed_run_leaves_the_old_model_or_the_new_one(engine: Path, tmp_path: Path) -> None:
    """SIGKILL at a dozen moments: what is under the model's name is whole each time."""
    root = tmp_path / "models"
    package(engine, triton=root)
    whole = tree(root / "small")
    code = (
        "import sys; from se_deploy import package; from se_deploy.deploy import repository\n"
        "print('ready', flush=True)\n"
        "while True: package(sys.argv[1], triton=sys.argv[2], force=True)"
    )
    for number in range(6):
        process = subprocess.Popen([sys.executable, "-c", code, str(engine), str(root)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.6 + 0.013 * number)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert tree(root / "small") == whole


def test_external_weights_come_along(tmp_path: Path) -> None:
    engine = engines.engine(tmp_path)
    model = onnx.load(engine)
    onnx.save_model(model, engine, save_as_external_data=True, location="engine.onnx.data", size_threshold=64)
    edited(engine, engine=artifacts.FileRef.of(engine))
    package(engine, triton=tmp_path / "models")
    assert (tmp_path / "models/small/1/engine.onnx.data").read_bytes() == engine.with_name("engine.onnx.data").read_bytes()
    rows = np.zeros((1, 3, 32, 32), np.float32)
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "models/small/1/model.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": rows})[0].shape == (1, 10)


def test_the_command_prints_the_models_folder_alone(engine: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "se_deploy", "package", str(engine), "--triton", "models"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "models/small\n"), done.stderr
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: models/small has a version 1; add --force to replace it, or write another with --version\n"
    done = subprocess.run([*words, "--version", "2", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["output"] == "models/small"
    done = subprocess.run(words[:-2], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
