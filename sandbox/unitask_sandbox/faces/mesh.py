"""The canonical face: 468 vertices and 898 triangles in centimetres, and what is known about each vertex.

MediaPipe ships the mesh as a protobuf file (``GeometryPipelineMetadata``); the few fields needed are read
here directly, so that no protobuf runtime is a dependency. Canonical axes: x to the viewer's right, y up, z
toward the viewer, origin inside the head. "Right" and "left" in names are the subject's own.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from unitask_sandbox.faces.arrays import Doubles, Floats, Indices, as_floats

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
RIGHT_NOSTRIL, LEFT_NOSTRIL, NOSE_BASE = 98, 327, 2


@dataclass(frozen=True, eq=False)
class CanonicalMesh:
    """The mesh, and weights of its vertices that say which rule applies where on a face."""

    vertices: Floats  # ``(468, 3)``, centimetres
    triangles: Indices  # ``(898, 3)`` vertex numbers
    mirror: Indices  # ``(468,)``: the vertex at the same place on the other half of the face
    anchors: Indices  # vertices that move little with the expression, to fit the head's pose with
    anchor_weights: Doubles  # their weights in the fit; the sum is 1
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
    triangles = np.array(mesh[4], np.int32).reshape(-1, 3)
    anchors, weights = _anchors(metadata[2])
    to_edge = _distances(vertices, _edge_vertices(triangles), axes=2)
    return CanonicalMesh(
        vertices=vertices,
        triangles=triangles,
        mirror=_mirror(vertices),
        anchors=anchors,
        anchor_weights=weights,
        inside=np.clip(to_edge / 3.0, 0, 1),
        mouth=_near(vertices, OUTER_LIPS + INNER_LIPS, reach=1.6),
        right_eye=_near(vertices, RIGHT_EYE, reach=1.0),
        left_eye=_near(vertices, LEFT_EYE, reach=1.0),
        forehead=_forehead(vertices),
    )


def _anchors(entries: Iterable[bytes]) -> tuple[Indices, Doubles]:
    """Return the vertex numbers of the Procrustes basis in order, and their weights scaled to a sum of 1."""
    # Vertex 0 would be left out of the message, as protobuf leaves out every default value.
    weight_of = {(entry[1] or [0])[0]: entry[2][0] for entry in map(_fields, entries)}
    numbers = sorted(weight_of)
    weights = np.array([weight_of[number] for number in numbers])
    return np.array(numbers, np.int32), weights / weights.sum()


def _edge_vertices(triangles: Indices) -> list[int]:
    """Return the vertices on the mesh's border: ends of an edge that belongs to one triangle only."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    distinct, count = np.unique(edges, axis=0, return_counts=True)
    return [int(vertex) for vertex in np.unique(distinct[count == 1])]


def _mirror(vertices: Floats) -> Indices:
    mirrored = vertices[:, None] * np.array([-1, 1, 1], np.float32)
    nearest: Indices = ((mirrored - vertices[None]) ** 2).sum(-1).argmin(1).astype(np.int32)
    return nearest


def _distances(vertices: Floats, others: Sequence[int], axes: int = 3) -> Floats:
    """Return how far each vertex is from the nearest of the others, in centimetres."""
    apart = vertices[:, None, :axes] - vertices[None, list(others), :axes]
    return as_floats(np.sqrt((apart**2).sum(-1)).min(1))


def _near(vertices: Floats, others: Sequence[int], reach: float) -> Floats:
    """Return a weight of 1 near the other vertices that falls to 0 at a distance of ``reach`` centimetres."""
    closeness = np.clip(1 - _distances(vertices, others) / reach, 0, 1)
    return as_floats(np.clip(closeness * 1.6, 0, 1))  # 1 over the first 3/8 of the reach


def _forehead(vertices: Floats) -> Floats:
    brow_height = vertices[list(RIGHT_BROW + LEFT_BROW), 1].max()
    return as_floats(np.clip((vertices[:, 1] - brow_height + 0.5) / 1.5, 0, 1))


def _fields(data: bytes) -> defaultdict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = divmod(key, 8)
        value: Any
        if wire_type == 0:
            value, at = _varint(data, at)
        elif wire_type == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        elif wire_type == 5:
            (value,), at = struct.unpack_from("<f", data, at), at + 4
        else:
            raise ValueError(f"unexpected protobuf wire type {wire_type} of field {number}")
        found[number].append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return value, at + 1
        at, shift = at + 1, shift + 7
