"""TensorRT and TensorRT-RTX: one way of building and running, by Polygraphy; what differs is in `flavours`."""

from se_deploy.backends.tensorrt.backend import TensorRT
from se_deploy.backends.tensorrt.flavours import RTX, STANDARD

__all__ = ["RTX", "STANDARD", "TensorRT"]
