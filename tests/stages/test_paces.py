"""What a build says of INT8 against FP32: only what the measured turns show."""

import pytest

from se_deploy.stages.steps.paces import said


@pytest.mark.parametrize(
    ("int8", "sentence"),
    [
        ([41.0, 40.0, 42.0, 41.0], "INT8 is slower than FP32 on this machine: 41 against 30 ms at batch 8, 1.37 [1.32, 1.41] times"),
        ([10.0, 10.5, 9.5, 10.0], "INT8 is faster than FP32 on this machine: 10 against 30 ms at batch 8, 0.33 [0.31, 0.36] times"),
        ([20.0, 45.0, 20.0, 31.0], "INT8 is not shown to be faster than FP32 on this machine: 25.5 against 30 ms at batch 8, 0.97 ["),
        ([20.0, 45.0, 20.0, 43.0], "INT8 is not shown to be faster than FP32 on this machine: 31.5 against 30 ms at batch 8, 1.07 ["),
    ],
)
def test_slower_is_said_and_faster_only_where_it_is_shown(int8: list[float], sentence: str) -> None:
    assert said(int8, [30.0, 30.0, 30.0, 30.0], 8).startswith(sentence)
