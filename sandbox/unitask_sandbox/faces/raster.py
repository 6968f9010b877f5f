"""From meshes to pixels: the triangle seen at each pixel, values spread over the triangles, and filled outlines."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Floats, Indices, Pixels, as_floats
from unitask_sandbox.faces.mesh import canonical_mesh

SUBPIXEL_BITS = 4  # OpenCV draws polygons with fixed-point corners; four bits are sixteenths of a pixel

NO_TRIANGLE = -1


@dataclass(frozen=True)
class Region:
    """A rectangle of a picture; ``left`` and ``top`` are inside, ``right`` and ``bottom`` just outside."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def around(cls, box: Sequence[float], margin: int, picture: Pixels) -> "Region":
        """Return the part of a picture within ``margin`` pixels of a box."""
        height, width = picture.shape[:2]
        left, top, right, bottom = (round(side) for side in box)
        return cls(
            max(left - margin, 0), max(top - margin, 0), min(right + margin, width), min(bottom + margin, height)
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.bottom - self.top, self.right - self.left

    def points(self, points: Floats) -> Floats:
        """Return the x and y of points counted from this region's corner."""
        return points[:, :2] - np.array([self.left, self.top], np.float32)

    def view(self, picture: Pixels) -> Pixels:
        """Return the region's pixels, not a copy."""
        return picture[self.top : self.bottom, self.left : self.right]


def rasterise(vertices: Floats, region: Region) -> Indices:
    """Return the number of the triangle seen at each pixel of a region, ``NO_TRIANGLE`` beside the face.

    The triangles are painted from the back to the front. Those that face away come first of all: they show only where
    a fold of the mesh left a gap.
    """
    triangles = canonical_mesh().triangles
    points = region.points(vertices)
    first, second, third = (points[triangles[:, corner]] for corner in range(3))
    (x, y), (other_x, other_y) = (second - first).T, (third - first).T
    faces_viewer = x * other_y - y * other_x > 0
    corners = np.round(points * 2**SUBPIXEL_BITS).astype(np.int32)[triangles]
    seen = np.full(region.shape, NO_TRIANGLE, np.int32)
    for number in np.lexsort((-vertices[triangles, 2].mean(1), faces_viewer)).tolist():
        cv2.fillConvexPoly(seen, corners[number], number, cv2.LINE_8, SUBPIXEL_BITS)
    return seen


def interpolate(values: Floats, seen: Indices, vertices: Floats, region: Region) -> Floats:
    """Return ``(468, channels)`` values spread linearly over the triangles of a raster; 0 beside the face."""
    triangles = canonical_mesh().triangles
    corners = np.ones((len(triangles), 3, 3))
    corners[:, :, :2] = region.points(vertices)[triangles]
    to_shares = as_floats(np.linalg.pinv(corners))  # a triangle seen from the edge has no inverse
    rows, columns = np.nonzero(seen >= 0)
    numbers = seen[rows, columns]
    places = as_floats(np.column_stack([columns, rows, np.ones(len(rows))]))
    shares = np.clip(np.einsum("pi,pic->pc", places, to_shares[numbers]), 0, 1)
    shares /= shares.sum(1, keepdims=True) + 1e-9
    spread = np.zeros((*region.shape, values.shape[1]), np.float32)
    spread[rows, columns] = np.einsum("pc,pcv->pv", shares, values[triangles[numbers]])
    return spread


def fill_outline(outline: Floats, region: Region) -> Pixels:
    """Return a mask of the region, 255 inside the closed ``(n, 2)`` outline."""
    corners = np.round(region.points(outline) * 2**SUBPIXEL_BITS).astype(np.int32)
    return cv2.fillPoly(np.zeros(region.shape, np.uint8), [corners], 255, cv2.LINE_8, SUBPIXEL_BITS)


def fill_hull(points: Floats, region: Region) -> Pixels:
    """Return a mask of the region, 255 inside the convex hull of the points."""
    return fill_outline(cv2.convexHull(np.ascontiguousarray(points[:, :2]))[:, 0], region)
