"""The array types of the face engine, and an OpenCV network that threads share.

Pictures are BGR, rows first, as OpenCV has them. Points are ``(x, y)`` or ``(x, y, z)`` in pixels of the
picture, x to the right, y down, z away from the viewer.
"""

from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pixels: TypeAlias = NDArray[np.uint8]  # A picture ``(height, width, 3)`` or a mask ``(height, width)``, 0 to 255

Floats: TypeAlias = NDArray[np.float32]  # Points, maps and pictures in the course of a computation

# Intermediate results whose rounding would show in the picture (matrix inverses, fits)
Doubles: TypeAlias = NDArray[np.float64]

Indices: TypeAlias = NDArray[np.int32]
Flags: TypeAlias = NDArray[np.bool_]


def as_floats(values: ArrayLike) -> Floats:
    """Return the values as float32, without a copy when they are already."""
    return np.asarray(values, np.float32)


def as_pixels(values: ArrayLike) -> Pixels:
    """Return the values as uint8, without a copy when they are already."""
    return np.asarray(values, np.uint8)


class Network:
    """A network whose input and output a lock keeps apart between threads."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._lock = Lock()

    def __call__(self, blob: Any, *outputs: str) -> list[Floats]:
        """Return the named outputs for an input."""
        with self._lock:
            self._network.setInput(blob)
            # Copied under the lock: the outputs may be the network's own memory.
            return [np.array(output, np.float32) for output in self._network.forward(outputs)]
