"""Shapes of faces: fitting the head's pose, and moving one person's proportions onto another's face.

Everything here works on the 468 mesh vertices, in picture coordinates; the canonical frame is in centimetres.
"""

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Floats, as_floats
from unitask_sandbox.faces.mesh import (
    LEFT_EYE,
    LEFT_MOUTH_CORNER,
    LOWER_LIP,
    OUTER_LIPS,
    RIGHT_EYE,
    RIGHT_MOUTH_CORNER,
    UPPER_LIP,
    canonical_mesh,
)


def smoothstep(values: Floats, low: float, high: float) -> Floats:
    """Return 0 below ``low``, 1 above ``high`` and a smooth rise between: ``t * t * (3 - 2 * t)``."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def facing(vertices: Floats) -> Floats:
    """Return for each vertex how much it faces the viewer: 1 full on, 0 edge on, negative turned away.

    This is the z part of the vertex normal, the mean of its triangles' normals weighted with their areas.
    """
    triangles = canonical_mesh().triangles
    first, second, third = (vertices[triangles[:, corner]] for corner in range(3))
    normals = np.zeros_like(vertices)
    np.add.at(normals, triangles, np.cross(second - first, third - first)[:, None])
    return as_floats(-normals[:, 2] / (np.linalg.norm(normals, axis=1) + 1e-9))


def transfer_shape(source: Floats, source_facing: Floats, target: Floats) -> Floats:
    """Return the target's vertices moved to the source's proportions.

    Brows, eyes, nose, cheeks and lips take the source's places; the face's outline, pose, blink and mouth
    opening stay the target's. Both are the ``(468, 3)`` vertices of a mesh.
    """
    source_shape, _, _ = _without_pose(source)
    target_shape, turn, place = _without_pose(target)
    offsets, visible = source_shape - target_shape, smoothstep(source_facing, 0.0, 0.35)[:, None]
    offsets = as_floats(visible * offsets + (1 - visible) * offsets[canonical_mesh().mirror] * [-1, 1, 1])
    offsets = _with_target_mouth(offsets, source_shape, target_shape)
    offsets = _with_target_lids(offsets)
    amount = smoothstep(canonical_mesh().inside, 0.05, 0.9)[:, None]
    return as_floats((target_shape + amount * offsets) @ turn.T + place)


def _without_pose(vertices: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a face in canonical coordinates, and its pose: canonical to picture is ``turn @ vertex + place``.

    The pose is a least-squares similarity over the vertices that move little with the expression.
    """
    mesh = canonical_mesh()
    matrix, scale = cv2.estimateAffine3D(mesh.vertices[mesh.anchors], vertices[mesh.anchors], force_rotation=True)
    turn, place = scale * matrix[:, :3], matrix[:, 3]
    return np.linalg.solve(turn, (vertices - place).T).T, turn, place


def _with_target_mouth(offsets: Floats, source_shape: Floats, target_shape: Floats) -> Floats:
    """Let the lips take the source's shape only as far as both mouths are open and wide alike.

    Otherwise the lips are expression, not identity: they move as one, by 0.6 of their mean offset.
    """
    opening, width = np.abs(_mouth_size(source_shape) - _mouth_size(target_shape))
    alike = np.exp(-((opening / 0.35) ** 2) - (width / 0.6) ** 2)  # 1 = alike; centimetres
    lips = alike * offsets + (1 - alike) * offsets[list(OUTER_LIPS)].mean(0) * 0.6
    mouth = canonical_mesh().mouth[:, None]
    return as_floats(offsets * (1 - mouth) + mouth * lips)


def _mouth_size(shape: Floats) -> Floats:
    """Return the opening and the width of a mouth in centimetres."""
    ends = shape[[UPPER_LIP, RIGHT_MOUTH_CORNER]] - shape[[LOWER_LIP, LEFT_MOUTH_CORNER]]
    return as_floats(np.linalg.norm(ends, axis=1))


def _with_target_lids(offsets: Floats) -> Floats:
    """Halve what would open or close the lids, so that a blink stays the target's."""
    mesh = canonical_mesh()
    for eye, weight in ((RIGHT_EYE, mesh.right_eye[:, None]), (LEFT_EYE, mesh.left_eye[:, None])):
        mean = offsets[list(eye)].mean(0)
        calm = mean + (offsets - mean) * [1, 0.5, 1]
        offsets = offsets * (1 - weight) + weight * calm
    return offsets
