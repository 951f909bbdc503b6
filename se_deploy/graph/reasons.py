"""Why something that looks like an SE block is left alone: stable ids, and what each means."""

from __future__ import annotations

REASONS = {
    "pool-max": "the map is pooled by its maximum, not its mean",
    "pool-sum": "the map, whose size is open, is summed, and not divided by that size",
    "pool-partial": "the mean is over a part of the map's axes",
    "pool-local": "the pool has a local window",
    "two-branches": "the gate is computed from two pooled vectors",
    "other-input": "the gate depends on another tensor beside the pooled one",
    "other-tensor": "the gate scales another tensor than the pooled one",
    "other-axis": "the gate does not lie along the map's channels",
    "other-shape": "the gate is expanded to another shape than the map's",
    "gate-not-pooled": "the gate does not come from a global pool",
    "added": "a vector computed from the map is added to it, not multiplied (global context)",
    "softmax": "channels or branches compete in a softmax",
    "sliced": "the gate is cut, split or joined on its way",
    "conv-over-channels": "a convolution runs along the channels (ECA)",
    "normalised": "the hidden vector is normalised by its own statistics",
    "reshaped": "a reshape mixes samples and channels, or cannot be followed",
    "quantized": "a vector inside the block is quantized",
    "other-op": "an operator that SE blocks do not have",
    "weights-not-constant": "a weight is not a constant",
    "no-fc": "there is no fully connected layer between pool and gate",
    "too-many-fcs": "there are more than two fully connected layers",
    "unknown-activation": "the activation between the fully connected layers is none of the node's",
    "unknown-gate": "the gate's function is none of the node's",
    "pooled-shared": "the pooled vector has another reader",
    "hidden-shared": "a vector inside the block has another reader",
    "gate-shared": "the gate has another reader",
    "old-opset": "the model's opset is older than the node's function needs; convert it with onnx.version_converter",
    "double-precision": "the map is in double precision",
}


def sentence(reason: str, detail: str = "") -> str:
    """The reason in words, with what is special about this place."""
    return f"{REASONS[reason]}: {detail}" if detail else REASONS[reason]
