"""The graph that INT8 is written into: BatchNorm inside the convolutions, and the repairs that a scale file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto

from se_deploy.artifacts import Scales
from se_deploy.graph import batchnorm, equalise
from se_deploy.quant import outputs
from se_deploy.quant.repairs import OUTPUT, Equalisable


def prepared(model: ModelProto, scales: Scales) -> ModelProto:
    """The fused FP32 model as these scales want it; the one given stays as it is. Scales of earlier versions want no change.

    Raises:
        GraphError: it is not the graph that the scales are of.
    """
    if scales.repairs is None:
        return model
    return equalised(batchnorm.folded(model), scales.repairs.factors)


def equalised(model: ModelProto, factors: Mapping[str, Sequence[float]]) -> ModelProto:
    """A model whose BatchNorms are folded, with these tensors equalised."""
    return equalise.equalised(model, {name: np.array(values, np.float32) for name, values in factors.items()})


def candidates(model: ModelProto) -> tuple[Equalisable, ...]:
    """What may be equalised in a model whose BatchNorms are folded."""
    given = [
        Equalisable(tensor=one.tensor, repair=f"{one.kind}{'-folded' if one.free else ''}", through=one.through)
        for one in equalise.candidates(model)
    ]
    return (*given, *(Equalisable(tensor=name, repair=OUTPUT) for name in outputs.find(model)))


def divided(scales: Scales) -> Mapping[str, Sequence[float]]:
    """What the channels of convolutions' outputs are divided by in the unsigned form."""
    return scales.repairs.outputs if scales.repairs is not None else {}


def shifted(scales: Scales) -> tuple[str, ...]:
    """The tensors that a constant is added to in the signed form."""
    return scales.repairs.shifted if scales.repairs is not None else ()
