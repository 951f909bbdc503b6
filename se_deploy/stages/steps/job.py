"""A loaded network, and how it is to be exported."""

from __future__ import annotations

from dataclasses import dataclass

from se_deploy.artifacts import Preprocess, Progress
from se_deploy.networks.exporting import Exporter, candidates
from se_deploy.networks.network import Network
from se_deploy.stages.steps.options import Options
from se_deploy.stages.steps.place import Place
from se_deploy.stages.steps.plain import odd_sides

Sides = tuple[int, int]


@dataclass(frozen=True)
class Job:
    """`size` is (C, H, W), `opset` what the file must have."""

    place: Place
    options: Options
    network: Network
    size: tuple[int, int, int]
    opset: int
    preprocess: Preprocess
    notes: tuple[str, ...]
    progress: Progress

    @property
    def odd(self) -> list[Sides]:
        """Other heights and widths to be run at, where they are to be dynamic."""
        return list(odd_sides(*self.size[1:])) if self.options.spatial == "dynamic" else []

    @property
    def sides(self) -> tuple[Sides, Sides, Sides]:
        """Least, usual and greatest height and width."""
        usual = self.size[1:]
        low, high = self.odd or (usual, usual)
        return low, usual, high

    @property
    def exporters(self) -> tuple[tuple[Exporter, ...], str | None]:
        """Those to try, in order, and why dynamo is not the first where that was left to us."""
        return candidates(self.options.exporter, self.opset, self.network.module, bool(self.odd))

    @property
    def batch(self) -> int | None:
        """The batch that the user fixes."""
        return self.options.batch if isinstance(self.options.batch, int) else None
