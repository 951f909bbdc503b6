"""Triton's configurations as text, read back by protobuf with Triton's own schema."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from se_deploy.deploy.pbtxt import Word, text


def parsed(message: dict[str, object]) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text(message), model_config_pb2.ModelConfig())


def test_every_kind_of_value_reads_back() -> None:
    config = parsed(
        {
            "name": "a",
            "max_batch_size": 4,
            "input": [{"name": "x", "data_type": Word("TYPE_FP32"), "dims": (3, -1)}, {"name": "z", "reshape": {"shape": ()}}],
            "output": [],
            "optimization": {"eager_batching": True},
            "dynamic_batching": None,
        }
    )
    assert (config.name, config.max_batch_size) == ("a", 4)
    assert [list(port.dims) for port in config.input] == [[3, -1], []]
    assert config.input[0].data_type == model_config_pb2.TYPE_FP32
    assert config.input[1].HasField("reshape")
    assert config.optimization.eager_batching
    assert not config.HasField("dynamic_batching")


@pytest.mark.parametrize("value", ['a "quoted" \\ one', "two\nlines", "grün 😀", "\x00\x07\x7f", "'", "\\n", "%s{}"])
def test_strings_of_any_kind_read_back(value: str) -> None:
    assert parsed({"name": value}).name == value


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no form"):
        text({"name": 1.5})
