"""From meshes to pixels.

The rectangle of a picture that a face takes, the triangle seen at each of its pixels, values interpolated
over the triangles, and filled outlines.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Doubles, Flags, Floats, Indices, Pixels, as_floats, as_pixels
from unitask_sandbox.faces.mesh import VERTICES, canonical_mesh

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
    def around(cls, landmarks: Floats, margin: int, picture: Pixels) -> "Region":
        """Return the part of a picture within ``margin`` pixels of a mesh's bounding box."""
        height, width = picture.shape[:2]
        points = landmarks[:VERTICES, :2]
        left, top = np.maximum(np.floor(points.min(0)).astype(int) - margin, 0)
        right, bottom = np.minimum(np.ceil(points.max(0)).astype(int) + margin, [width, height])
        return cls(int(left), int(top), int(right), int(bottom))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.bottom - self.top, self.right - self.left

    def points(self, points: Floats) -> Doubles:
        """Return the x and y of points (or of a mesh's vertices) counted from this region's corner."""
        return points[:VERTICES, :2].astype(np.float64) - (self.left, self.top)

    def view(self, picture: Pixels) -> Pixels:
        """Return the region's pixels, not a copy."""
        return picture[self.top : self.bottom, self.left : self.right]


def rasterise(landmarks: Floats, region: Region) -> Indices:
    """Return the number of the triangle seen at each pixel of a region, ``NO_TRIANGLE`` beside the face.

    Triangles that face away are left out, the others are painted from the back to the front.
    """
    triangles = canonical_mesh().triangles
    points = region.points(landmarks)
    order = np.argsort(-landmarks[triangles, 2].mean(1))
    order = order[_front(points, triangles)[order]]
    corners = np.round(points * 2**SUBPIXEL_BITS).astype(np.int32)[triangles[order]]
    seen = np.full(region.shape, NO_TRIANGLE, np.int32)
    for number, triangle in zip(order.tolist(), corners, strict=True):
        cv2.fillConvexPoly(seen, triangle, number, cv2.LINE_8, SUBPIXEL_BITS)
    return _without_pinholes(seen)


def _front(points: Doubles, triangles: Indices) -> Flags:
    """Return which triangles are turned the way most of them are, which is toward the viewer."""
    first, second, third = (points[triangles[:, corner]] for corner in range(3))
    to_second, to_third = second - first, third - first
    area = to_second[:, 0] * to_third[:, 1] - to_second[:, 1] * to_third[:, 0]
    return area < 0 if np.median(area) < 0 else area > 0


def _without_pinholes(seen: Indices) -> Indices:
    """Give pixels that a fold of the mesh left open the triangle of a neighbour."""
    covered = (seen >= 0).astype(np.uint8)
    hole = (seen < 0) & (cv2.morphologyEx(covered, cv2.MORPH_CLOSE, np.ones((9, 9))) > 0)
    for _ in range(6):  # a closing by nine pixels leaves no wider holes
        if not hole.any():
            break
        neighbours = cv2.dilate(seen.astype(np.float32), np.ones((3, 3))).astype(np.int32)
        seen = np.where(hole, neighbours, seen)
        hole &= seen < 0
    return seen


def interpolate(values: Floats, seen: Indices, landmarks: Floats, region: Region) -> Floats:
    """Return ``(468, channels)`` values spread linearly over the triangles of a raster; 0 beside the face."""
    triangles = canonical_mesh().triangles
    rows, columns = np.nonzero(seen >= 0)
    number = seen[rows, columns]
    to_barycentric = _to_barycentric(region.points(landmarks), triangles)[number]
    x, y = (axis[:, None].astype(np.float32) for axis in (columns, rows))
    share = x * to_barycentric[:, 0] + y * to_barycentric[:, 1] + to_barycentric[:, 2]
    share = np.clip(share, 0, 1)
    share /= share.sum(1, keepdims=True) + 1e-9
    first, second, third = (values[triangles[:, corner]][number] for corner in range(3))
    spread = np.zeros((*region.shape, values.shape[1]), np.float32)
    spread[rows, columns] = share[:, 0, None] * first + share[:, 1, None] * second + share[:, 2, None] * third
    return spread


def _to_barycentric(points: Doubles, triangles: Indices) -> Floats:
    """Return for each triangle the matrix that takes ``(x, y, 1)`` to the shares of its three corners."""
    corners = np.ones((len(triangles), 3, 3))
    corners[:, :, :2] = points[triangles]
    corners[np.abs(np.linalg.det(corners)) < 1e-3] += np.eye(3) * 1e-2  # seen from the edge: keep it invertible
    return as_floats(np.linalg.inv(corners))


def fill_outline(outline: Floats, region: Region) -> Pixels:
    """Return a mask of the region, 255 inside the closed ``(n, 2)`` outline."""
    mask = np.zeros(region.shape, np.uint8)
    corners = np.round(region.points(outline) * 2**SUBPIXEL_BITS).astype(np.int32)
    return as_pixels(cv2.fillPoly(mask, [corners], 255, cv2.LINE_8, SUBPIXEL_BITS))
