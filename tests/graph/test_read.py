"""Files that cannot be read are one clear line; what is written is whole and comes back equal."""

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from se_deploy.errors import ArtifactError, GraphError
from se_deploy.graph.fuse import fuse
from se_deploy.graph.read import OPSETS, read, write
from tests.graph.spelled import FCS, assert_equal, model

SE = f"z = Conv <pads = [1, 1, 1, 1]> (x, K)  p = GlobalAveragePool(z)  {FCS}  y = Mul(z, g)"


def refused(path: Path, words: str) -> None:
    with pytest.raises(GraphError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_comes_back_equal(tmp_path: Path) -> None:
    plain = model(SE)
    write(plain, tmp_path / "m.onnx")
    assert read(tmp_path / "m.onnx").SerializeToString() == plain.SerializeToString()
    assert [f.name for f in tmp_path.iterdir()] == ["m.onnx"]


def test_large_weights_go_beside_and_come_back(tmp_path: Path) -> None:
    plain = fuse(model(SE)).model
    before = plain.SerializeToString()
    path = tmp_path / "m.onnx"
    write(plain, path, limit=1000)
    assert plain.SerializeToString() == before
    assert len(list(tmp_path.iterdir())) == 2
    assert path.stat().st_size < len(before) - 1500
    assert_equal(plain, read(path))
    onnx.checker.check_model(path, full_check=True)


def test_writing_again_leaves_no_old_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write(model(SE, seed=1), path, limit=1000)
    first = {f.name for f in tmp_path.iterdir()}
    write(model(SE, seed=2), path, limit=1000)
    assert len(list(tmp_path.iterdir())) == 2
    assert {f.name for f in tmp_path.iterdir()} & first == {"m.onnx"}
    assert_equal(model(SE, seed=2), read(path))
    write(model(SE, seed=3), path)
    assert [f.name for f in tmp_path.iterdir()] == ["m.onnx"]


def test_weights_that_are_not_raw_bytes(tmp_path: Path) -> None:
    plain = model(SE)
    for tensor in plain.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.ClearField("raw_data")
        tensor.float_data.extend(values.reshape(-1).tolist())
    write(plain, tmp_path / "m.onnx", limit=1000)
    assert_equal(plain, read(tmp_path / "m.onnx"))


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "cannot read .*: No such file")


def test_folder(tmp_path: Path) -> None:
    refused(tmp_path, "cannot read .*: Is a directory")


@pytest.mark.parametrize("content", [b"", b"hello, this is no model\n" * 40, b"\x80\x04\x95", b"PK\x03\x04" + bytes(100)])
def test_not_onnx(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    refused(tmp_path / "m.onnx", "not an ONNX")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, share: float) -> None:
    whole = model(SE).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(whole[: int(len(whole) * share)])
    refused(tmp_path / "m.onnx", "truncated or not an ONNX file|has no graph")


@pytest.mark.parametrize("opset", [6, OPSETS[-1] + 1])
def test_opset_out_of_reach(tmp_path: Path, opset: int) -> None:
    plain = model(SE)
    plain.opset_import[0].version = opset
    write(plain, tmp_path / "m.onnx")
    refused(tmp_path / "m.onnx", f"has ONNX opset {opset}; 7 to {OPSETS[-1]} can be read")


def test_external_data_missing_or_short(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write(model(SE), path, limit=1000)
    data = next(f for f in tmp_path.iterdir() if f.suffix == ".data")
    data.write_bytes(data.read_bytes()[:-4])
    refused(path, f"keeps weights in {data.name}, which is missing or too short")
    data.unlink()
    refused(path, f"keeps weights in {data.name}, which is missing or too short")


def test_external_data_outside_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "m.onnx"
    write(model(SE), path, limit=1000)
    light = onnx.load(path, load_external_data=False)
    (tmp_path / "secret").write_bytes(bytes(10000))
    for tensor in light.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../secret"
    path.write_bytes(light.SerializeToString())
    refused(path, "keeps weights in ../secret")


def test_cycle(tmp_path: Path) -> None:
    plain = model(SE)
    plain.graph.node[0].input[0] = "y"
    write(plain, tmp_path / "m.onnx")
    refused(tmp_path / "m.onnx", "cycle through node")


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    plain = model(SE)
    nodes = list(plain.graph.node)[::-1]
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    write(plain, tmp_path / "m.onnx")
    assert [n.name for n in read(tmp_path / "m.onnx").graph.node] == [n.name for n in nodes[::-1]]


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot write"):
        write(model(SE), tmp_path / "file" / "m.onnx")


def test_a_weight_that_no_tensor_holds(tmp_path: Path) -> None:
    huge = model(SE)
    huge.graph.initializer.add(name="fc.weight", data_type=onnx.TensorProto.FLOAT, dims=[1_200_000, 512])
    with pytest.raises(GraphError, match=r"the weight fc\.weight alone is over 2 GB.*; split that layer"):
        write(huge, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
