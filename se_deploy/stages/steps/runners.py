"""Where calibration runs: in this process, or in parts on a Ray cluster. Either gives the same tally to the last bit."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from se_deploy.errors import QuantError
from se_deploy.quant.tally import Tally
from se_deploy.stages.steps.observing import Work, observe

#: Called with the tally whenever it has grown.
Grown = Callable[[Tally], None]
NAMES = ("local", "ray")
#: Parts that a cluster's CPU gets, so that a slow one does not keep the others waiting.
PARTS = 4


def check(name: str) -> None:
    """Refuses a runner that does not exist or is not installed, before any work.

    Raises:
        QuantError: says which there are, or what to install.
    """
    if name not in NAMES:
        raise QuantError(f"no runner is called {name!r}", f"take one of {', '.join(NAMES)}")
    if name == "ray":
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise QuantError("the runner ray needs Ray", "pip install 'se-deploy[ray]'") from error


def run(name: str, work: Work, tally: Tally, grown: Grown) -> None:
    """Adds what the work's images show to `tally`."""
    if not work.places:
        return
    if name == "ray":
        _on_ray(work, tally, grown)
    else:
        observe(work, tally, lambda: grown(tally))


def _on_ray(work: Work, tally: Tally, grown: Grown) -> None:
    """Runs parts of the work as Ray tasks; the model and the images must lie at the same paths on every node."""
    import ray

    ours = not ray.is_initialized()
    if ours:
        # Left open, Ray warns that what it means for tasks without a GPU will change.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        task = ray.remote(num_cpus=1, max_retries=2)(_part)
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting: list[Any] = [task.remote(part) for part in work.absolute().split(cpus * PARTS)]
        while waiting:
            (first, *_), waiting = ray.wait(waiting, num_returns=1)
            tally.merge(_result(first))
            grown(tally)
    finally:
        if ours:
            ray.shutdown()


def _part(work: Work) -> Tally:
    return observe(work, Tally(work.job))


def _result(reference: Any) -> Tally:
    """A part's tally; an error of the part's is raised as it was there."""
    import ray

    try:
        tally: Tally = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    return tally
