"""Names of the array types that the face engine passes around, and the two conversions between them.

Pictures are BGR, rows first, as OpenCV has them. Points are ``(x, y)`` or ``(x, y, z)`` in pixels of the
picture, x to the right, y down, z away from the viewer.
"""

from typing import TypeAlias

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
