"""The canonical face: 468 vertices and 898 triangles in centimetres, and what is known about each vertex.

MediaPipe ships the mesh as a protobuf file (``GeometryPipelineMetadata``); the few fields needed are read
here directly, so that no protobuf runtime is a dependency. Canonical axes: x to the viewer's right, y up, z
toward the viewer, origin inside the head. "Right" and "left" in names are the subject's own.
"""

import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Floats, Indices, as_floats

WEIGHTS = Path(__file__).with_name("weights")

# Vertices of the canonical mesh. A landmark set has ten more points, the irises, which have no triangles
VERTICES = 468

# Closed loops of vertex numbers, from MediaPipe's face mesh connections.
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)

RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 33, 263  # the outer corners
UPPER_LIP, LOWER_LIP = 13, 14  # inner edges, at the middle of the mouth
RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = 61, 291
NOSTRILS = (98, 327, 2)  # and the base of the nose between them


@dataclass(frozen=True, eq=False)
class CanonicalMesh:
    """The mesh, and weights of its vertices that say which rule applies where on a face."""

    vertices: Floats  # ``(468, 3)``, centimetres
    triangles: Indices  # ``(898, 3)`` vertex numbers
    mirror: Indices  # ``(468,)``: the vertex at the same place on the other half of the face
    anchors: Indices  # vertices that move little with the expression, to fit the head's pose with
    inside: Floats  # 0 on the edge of the face, 1 from 3 cm inside it
    mouth: Floats  # 1 on the lips, 0 from 1.6 cm beside them
    right_eye: Floats  # 1 on the lids, 0 from 1 cm beside them
    left_eye: Floats  # the same for the other eye
    forehead: Floats  # 0 up to half a centimetre below the highest point of the brows, 1 from a centimetre above it


@cache
def canonical_mesh() -> CanonicalMesh:
    """Return the canonical mesh; the file is read once per process."""
    metadata = _fields((WEIGHTS / "geometry_pipeline_metadata_landmarks.binarypb").read_bytes())
    mesh = _fields(metadata[1][0])
    vertices = np.array(mesh[3], np.float32).reshape(-1, 5)[:, :3].copy()  # x, y, z, and a texture's u, v
    edge: Any = cv2.convexHull(vertices[:, :2].copy(), returnPoints=False)
    brow_height = vertices[list(RIGHT_BROW + LEFT_BROW), 1].max()
    return CanonicalMesh(
        vertices=vertices,
        triangles=np.array(mesh[4], np.int32).reshape(-1, 3),
        mirror=_distances(vertices * np.array([-1, 1, 1], np.float32), vertices).argmin(1),
        anchors=np.array([_fields(entry)[1][0] for entry in metadata[2]]),
        inside=np.clip(_distances(vertices[:, :2], vertices[edge.ravel(), :2]).min(1) / 3.0, 0, 1),
        mouth=_near(vertices, OUTER_LIPS + INNER_LIPS, reach=1.6),
        right_eye=_near(vertices, RIGHT_EYE, reach=1.0),
        left_eye=_near(vertices, LEFT_EYE, reach=1.0),
        forehead=np.clip((vertices[:, 1] - brow_height + 0.5) / 1.5, 0, 1),
    )


def _distances(some: Floats, others: Floats) -> Floats:
    """Return the distances of each of some vertices from each of the others, in centimetres."""
    return as_floats(np.linalg.norm(some[:, None] - others[None], axis=-1))


def _near(vertices: Floats, others: Sequence[int], reach: float) -> Floats:
    """Return a weight of 1 near the other vertices that falls to 0 at a distance of ``reach`` centimetres."""
    closeness = np.clip(1 - _distances(vertices, vertices[list(others)]).min(1) / reach, 0, 1)
    return as_floats(np.clip(closeness * 1.6, 0, 1))  # 1 over the first 3/8 of the reach


def _fields(data: bytes) -> defaultdict[int, list[Any]]:
    """Return the values of a protobuf message by the number of their field."""
    found: defaultdict[int, list[Any]] = defaultdict(list)
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = divmod(key, 8)
        value: Any
        if wire_type == 5:
            (value,), at = struct.unpack_from("<f", data, at), at + 4
        else:
            value, at = _varint(data, at)
        if wire_type == 2:
            value, at = data[at : at + value], at + value
        found[number].append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return value, at + 1
        at, shift = at + 1, shift + 7
