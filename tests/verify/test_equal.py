"""Equal to rounding: judged by the output's range over everything that was wanted."""

import numpy as np
import pytest

from se_deploy.verify.equal import Ranges


def tensors(*values: float) -> dict[str, np.ndarray]:
    return {"y": np.array(values, np.float32)}


RANGES = Ranges.of([tensors(0, 1), tensors(5, 10)])


def test_the_range_is_over_all_batches() -> None:
    assert RANGES.spread == {"y": 10}
    assert RANGES.largest == {"y": 10}
    assert RANGES.difference(tensors(0, 1.0009), tensors(0, 1), 1e-4) is None
    found = RANGES.difference(tensors(0, 1.0011), tensors(0, 1), 1e-4)
    assert str(found) == "y differs by 0.00011 of its range"


@pytest.mark.parametrize(
    "got", [{"y": np.zeros((1, 2), np.float32)}, {"z": np.zeros(2, np.float32)}, tensors(np.nan, 1), tensors(0, np.inf)], ids=str
)
def test_no_such_output_another_shape_and_non_finite(got: dict[str, np.ndarray]) -> None:
    found = RANGES.difference(got, tensors(0, 1), 1e-4)
    assert found is not None
    assert found.share == np.inf


def test_the_worst_output_is_named() -> None:
    wanted = {"a": np.array([0.0, 1.0], np.float32), "b": np.array([0.0, 100.0], np.float32)}
    got = {"a": np.array([0.0, 1.5], np.float32), "b": np.array([0.0, 101.0], np.float32)}
    assert Ranges.of([wanted]).difference(got, wanted, 1e-4).output == "a"


def test_values_far_above_their_range_are_allowed_what_fp32_loses() -> None:
    wanted = tensors(1000, 1000.001)
    assert Ranges.of([wanted]).difference(tensors(1000.0006, 1000.001), wanted, 1e-5) is None
    assert Ranges.of([wanted]).difference(tensors(1000.01, 1000.001), wanted, 1e-5) is not None


def test_a_constant_output() -> None:
    wanted = tensors(3, 3)
    assert Ranges.of([wanted]).difference(wanted, wanted, 1e-5) is None
    assert Ranges.of([wanted]).difference(tensors(3, 3.1), wanted, 1e-5).share == np.inf


def test_integers_must_be_equal() -> None:
    wanted = {"k": np.array([3, 7], np.int64)}
    assert Ranges.of([wanted]).difference({"k": np.array([3, 7])}, wanted, 1e-4) is None
    assert Ranges.of([wanted]).difference({"k": np.array([3, 6])}, wanted, 1e-4).share == 0.25


def test_probabilities_near_zero_are_allowed_what_fp32_loses_near_one() -> None:
    wanted = tensors(0, 2e-6)
    assert Ranges.of([wanted]).difference(tensors(1.5e-7, 2e-6), wanted, 1e-5) is None
    assert Ranges.of([wanted]).difference(tensors(1e-6, 2e-6), wanted, 1e-5) is not None
    assert Ranges.of([wanted]).faint == ("y",)
    assert RANGES.faint == ()
