"""The array types of the engines, and a network of OpenCV that threads share.

Pictures are BGR, rows first, as OpenCV has them. Points are ``(x, y)`` or ``(x, y, z)`` in pixels of the
picture, x to the right, y down, z away from the viewer.
"""

from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pixels: TypeAlias = NDArray[Any]  # uint8: a picture ``(height, width, 3)`` or a mask ``(height, width)``, 0 to 255
Floats: TypeAlias = NDArray[Any]  # float32: points, maps and pictures in the course of a computation
Flags: TypeAlias = NDArray[Any]  # bool
Indices: TypeAlias = NDArray[Any]  # int32


def as_floats(values: ArrayLike) -> Floats:
    """Return the values as float32, without a copy when they are already."""
    return np.asarray(values, np.float32)


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
