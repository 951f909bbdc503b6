"""In the process that builds: the configuration, and the engine's bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from se_deploy.backends.tensorrt.job import Job
from se_deploy.backends.tensorrt.messages import Messages
from se_deploy.backends.tensorrt.network import Parsed, write
from se_deploy.backends.tensorrt.telling import BuildFailed, Teller


def build(job: Job, parsed: Parsed, messages: Messages, teller: Teller) -> None:
    """Builds and writes the engine."""
    from polygraphy.backend.trt import engine_bytes_from_network
    from polygraphy.exception import PolygraphyException

    network = (parsed.builder, parsed.network, parsed.parser)
    try:
        made = engine_bytes_from_network(network, config=_configured(job, parsed, teller), save_timing_cache=job.timing_cache)
    except PolygraphyException as error:
        raise BuildFailed("refused", (messages.errors() or [str(error)])[0]) from error
    teller.phase("write the engine")
    write(Path(job.out), memoryview(made))


def _configured(job: Job, parsed: Parsed, teller: Teller) -> Any:
    """A callable that makes the configuration, as Polygraphy wants it."""
    from polygraphy.backend.trt import CreateConfig, Profile

    profile = Profile()
    for given in job.inputs:
        profile.add(given.name, given.min, given.opt, given.max)
    common: dict[str, Any] = {
        "profiles": [profile],
        "refittable": job.refit,
        "version_compatible": job.version_compatible,
        "progress_monitor": monitor(parsed.trt, teller),
        "load_timing_cache": job.timing_cache if job.timing_cache and Path(job.timing_cache).is_file() else None,
    }
    if job.hardware_compatible:
        common["hardware_compatibility_level"] = parsed.trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if parsed.trt.__name__.startswith("tensorrt_rtx"):
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        create: Any = CreateConfigRTX(compute_capabilities=[capability(target) for target in job.targets], **common)
    else:
        create = CreateConfig(tf32=True, **common)  # TensorRT's own default, which Polygraphy turns round

    def configure(builder: Any, network: Any) -> Any:
        config = create(builder, network)
        if job.embed_plugin:
            config.plugins_to_serialize = [job.plugin]
        return config

    return configure


def capability(target: str) -> tuple[int, int]:
    """sm_120 -> (12, 0)"""
    digits = target.removeprefix("sm_")
    return int(digits[:-1]), int(digits[-1])


def monitor(trt: Any, teller: Teller) -> Any:
    """Tells how far the builder is: steps done of the steps of all phases begun so far."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the module is known at run time alone
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.done = 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.done += 1
            teller.tell("progress", done=self.done, total=max(self.done, sum(self.steps.values())))
            return True  # False would end the build

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()
