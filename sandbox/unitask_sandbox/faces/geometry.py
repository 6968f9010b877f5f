"""Shapes of faces: fitting the head's pose, and moving one person's proportions onto another's face.

Everything here works on the 468 mesh vertices. Landmarks are in picture coordinates (y down, z away from the
viewer); the canonical frame has y up and z toward the viewer, and its unit is the centimetre.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from unitask_sandbox.faces.arrays import Doubles, Floats, as_floats
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

Real = TypeVar("Real", bound=np.floating[Any])


def smoothstep(values: NDArray[Real], low: float, high: float) -> NDArray[Real]:
    """Return 0 below ``low``, 1 above ``high`` and a smooth rise between: ``t * t * (3 - 2 * t)``."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), values.dtype)


def facing(landmarks: Floats) -> Doubles:
    """Return for each vertex how much it faces the viewer: 1 full on, 0 edge on, negative turned away.

    This is the z part of the vertex normal, the mean of its triangles' normals weighted with their areas.
    """
    vertices = _flip(landmarks)
    triangles = canonical_mesh().triangles
    first, second, third = (vertices[triangles[:, corner]] for corner in range(3))
    of_triangles = np.cross(second - first, third - first)
    corners = triangles.T.ravel()
    normals = np.stack([np.bincount(corners, np.tile(axis, 3)) for axis in of_triangles.T], axis=1)
    lengths = np.linalg.norm(normals, axis=1) + 1e-9
    return np.asarray(normals[:, 2] / lengths, np.float64)


@dataclass(frozen=True, eq=False)
class Pose:
    """A similarity from canonical to picture coordinates: ``scale * rotation @ vertex + offset``."""

    scale: float
    rotation: Doubles
    offset: Doubles

    @classmethod
    def fit(cls, landmarks: Floats) -> "Pose":
        """Return the least-squares pose of a face, over the vertices that move little with the expression.

        This is the weighted orthogonal Procrustes problem; the sign of the determinant keeps mirrorings out.
        """
        mesh = canonical_mesh()
        weights = mesh.anchor_weights[:, None]
        model = mesh.vertices[mesh.anchors].astype(np.float64)
        seen = _flip(landmarks)[mesh.anchors].astype(np.float64)
        model_centre, seen_centre = (weights * model).sum(0), (weights * seen).sum(0)
        model, seen = model - model_centre, seen - seen_centre
        left, singular, right = np.linalg.svd((seen * weights).T @ model)
        signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
        rotation = left @ np.diag(signs) @ right
        scale = float((singular * signs).sum() / (weights * model**2).sum())
        return cls(scale, rotation, seen_centre - scale * rotation @ model_centre)

    def to_canonical(self, landmarks: Floats) -> Doubles:
        """Return the landmarks free of pose and size."""
        return ((_flip(landmarks) - self.offset) @ self.rotation) / self.scale

    def to_picture(self, vertices: Doubles) -> Floats:
        """Return canonical vertices as landmarks in this pose."""
        return as_floats(_flip(self.scale * (vertices @ self.rotation.T) + self.offset))


def transfer_shape(source: Floats, source_facing: Doubles, target: Floats) -> Floats:
    """Return the target's vertices moved to the source's proportions.

    Brows, eyes, nose, cheeks and lips take the source's places; the face's outline, pose, blink and mouth
    opening stay the target's. Both are the ``(468, 3)`` vertices of a mesh.
    """
    source_shape = Pose.fit(source).to_canonical(source)
    target_pose = Pose.fit(target)
    target_shape = target_pose.to_canonical(target)
    offsets = _from_the_visible_side(source_shape - target_shape, source_facing)
    offsets = _with_target_mouth(offsets, source_shape, target_shape)
    offsets = _with_target_lids(offsets)
    amount = smoothstep(canonical_mesh().inside, 0.05, 0.9)[:, None]
    return target_pose.to_picture(target_shape + amount * offsets)


def _flip(points: NDArray[Real]) -> NDArray[Real]:
    return np.asarray(points * np.array([1, -1, -1], points.dtype), points.dtype)


def _from_the_visible_side(offsets: Doubles, source_facing: Doubles) -> Doubles:
    visible = smoothstep(source_facing, 0.0, 0.35)[:, None]
    mirrored = offsets[canonical_mesh().mirror] * [-1, 1, 1]
    return visible * offsets + (1 - visible) * mirrored


def _with_target_mouth(offsets: Doubles, source_shape: Doubles, target_shape: Doubles) -> Doubles:
    """Let the lips take the source's shape only as far as both mouths are open and wide alike.

    Otherwise the lips are expression, not identity: they move as one, by 0.6 of their mean offset.
    """
    opening, width = np.abs(_mouth_size(source_shape) - _mouth_size(target_shape))
    alike = float(np.exp(-((opening / 0.35) ** 2) - (width / 0.6) ** 2))  # 1 = alike; centimetres
    as_one = np.asarray(offsets[list(OUTER_LIPS)].mean(0), np.float64)
    lips = alike * offsets + (1 - alike) * as_one * 0.6
    mouth = canonical_mesh().mouth[:, None]
    return offsets * (1 - mouth) + mouth * lips


def _mouth_size(shape: Doubles) -> Doubles:
    """Return the opening and the width of a mouth in centimetres."""
    ends = shape[[UPPER_LIP, RIGHT_MOUTH_CORNER]] - shape[[LOWER_LIP, LEFT_MOUTH_CORNER]]
    return np.asarray(np.linalg.norm(ends, axis=1), np.float64)


def _with_target_lids(offsets: Doubles) -> Doubles:
    """Halve what would open or close the lids, so that a blink stays the target's."""
    mesh = canonical_mesh()
    for eye, weight in ((RIGHT_EYE, mesh.right_eye[:, None]), (LEFT_EYE, mesh.left_eye[:, None])):
        mean = offsets[list(eye)].mean(0)
        calm = mean + (offsets - mean) * [1, 0.5, 1]
        offsets = offsets * (1 - weight) + weight * calm
    return offsets
