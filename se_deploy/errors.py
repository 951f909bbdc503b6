"""Errors that are the user's to mend: one line that says what, where, and what to do about it."""

from __future__ import annotations


class SeDeployError(Exception):
    """A user's error: `message` says what and where, `hint` what to do. The CLI prints one line and exits 1."""

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class LoadError(SeDeployError):
    """A checkpoint that cannot be read or recognised."""


class ExportError(SeDeployError):
    """A network that no exporter takes, or whose ONNX differs from PyTorch."""


class GraphError(SeDeployError):
    """An ONNX file that cannot be read, or that is not what a stage needs."""


class ImageError(SeDeployError):
    """A folder without usable images, or images that contradict the network's input."""


class QuantError(SeDeployError):
    """Calibration or quantization that cannot be done, or scales of another graph."""


class FoldError(SeDeployError):
    """Gates that are not constant, or images and bounds that cannot judge a folded network."""


class BackendError(SeDeployError):
    """A backend that is missing here, or that refuses the model."""


class PackageError(SeDeployError):
    """An engine that cannot be served as asked, or a repository that would be overwritten."""


class ServeError(SeDeployError):
    """A server that does not answer, or a model on it that cannot be asked for classes."""


class ArtifactError(SeDeployError):
    """A manifest or model directory that is missing, malformed, or belongs to something else."""


class CheckFailed(SeDeployError):
    """A check that the user asked for did not pass: exit code 3."""

    exit_code = 3


class Contradiction(ValueError):
    """Arguments that exclude each other: a mistake in the call, which the command line answers as it does any wrong usage."""
