"""An OpenCV network that threads share."""

from threading import Lock
from typing import Any

import numpy as np

from unitask_sandbox.faces.arrays import Floats


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
