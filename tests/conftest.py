"""Fast tests first, and a skip for a missing system part is a failure in CI."""

import os
import signal

import pytest

# A shell's background job ignores Ctrl-C, and so would every process that tests start and then interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    """Under CI=true only tests that need a GPU may be skipped."""
    report: pytest.TestReport = yield  # type: ignore[misc]
    if report.skipped and os.environ.get("CI") == "true" and item.get_closest_marker("gpu") is None:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"
    return report
