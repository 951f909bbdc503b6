"""Which cases: the edges of every size, then random ones; every act, gate, skip and epilogue on every type and layout."""

from __future__ import annotations

import random
from dataclasses import replace

from se_deploy import op
from tests.plugins.cases import Case
from tests.plugins.layouts import LEGAL

#: 1x1, a few, 7x7, odd, 14x14, not a multiple of anything.
MAPS = (1, 2, 3, 7, 8, 15, 16, 17, 49, 63, 196, 225)
#: One, channel tails of every vector and layout, several chunks.
CHANNELS = (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100)
HIDDEN = (1, 2, 4, 7, 16, 33)
BATCHES = (1, 2, 3, 9)
KINDS = [(dtype, layout) for dtype, layouts in LEGAL.items() for layout in layouts]


def drawn(count: int, seed: int, dtype: str, layout: str) -> list[Case]:
    """`count` random cases; the first ones go through every act, gate, skip and epilogue."""
    rng = random.Random(f"{seed} {dtype} {layout}")
    cases = []
    for number in range(count):
        case = Case(
            dtype=dtype,
            layout=layout,
            act=op.ACTS[number % len(op.ACTS)],
            gate=op.GATES[number % len(op.GATES)] if number >= len(op.ACTS) else rng.choice(op.GATES),
            skip=op.SKIPS[number // 4 % len(op.SKIPS)],
            epilogue=op.EPILOGUES[number % len(op.EPILOGUES)],
            n=rng.choice(BATCHES),
            c=rng.choice((*CHANNELS, rng.randint(1, 200))),
            r=rng.choice((*HIDDEN, rng.randint(1, 40))),
            hw=rng.choice((*MAPS, rng.randint(1, 300))),
            seed=rng.randrange(1 << 30),
            schedule=rng.randrange(1 << 30),
        )
        cases.append(case)
    return cases


def edges(dtype: str, layout: str) -> list[Case]:
    """Each size at its edges, the others in the middle; and every combination of skip and epilogue."""
    case = Case(dtype=dtype, layout=layout, n=2, c=40, r=8, hw=49)
    sizes = [replace(case, hw=hw) for hw in MAPS] + [replace(case, c=c) for c in CHANNELS] + [replace(case, r=r) for r in HIDDEN]
    curves = [replace(case, skip=skip, epilogue=epilogue) for skip in op.SKIPS for epilogue in op.EPILOGUES]
    gates = [replace(case, act=act, gate=gate) for act in op.ACTS for gate in op.GATES]
    return [replace(case, seed=number, schedule=number) for number, case in enumerate(sizes + curves + gates)]
