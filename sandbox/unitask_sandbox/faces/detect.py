"""Finding faces: YuNet says where they are, MediaPipe's landmark model lays a mesh of 478 points on each.

Both models run inside OpenCV. They are loaded once per process, and a lock keeps threads from sharing a
network's input and output.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from threading import Lock
from typing import Any, Final

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Floats, Network, Pixels, as_floats
from unitask_sandbox.faces.mesh import LEFT_EYE_CORNER, RIGHT_EYE_CORNER, VERTICES, WEIGHTS

# Meshes that the landmark model is less sure of are not faces, or are turned too far away to be swapped
MIN_SCORE: Final = 0.9

# The detector. It misses faces much larger than its largest anchor, about 300 pixels: hence two scales.
LONGEST_SIDE: Final = 1280  # larger pictures are searched on a reduced copy
SCALES: Final = (1.0, 0.35)
# OpenCV pads to multiples of 32. Observed in 4.14: with a single one on a side, boxes are made from memory that
# the network has not written, other ones in each run. Such a copy is left out.
SMALLEST_SIDE: Final = 33
OVERLAP_IN_SCALE: Final = 0.3  # of two boxes of one face, as a share of their union
OVERLAP_ACROSS_SCALES: Final = 0.4
_DETECTING: Final = Lock()

# The landmark model: a square crop in, 478 points and a score out
INPUT_SIDE: Final = 256
CROP: Final = 1.5  # side of the crop, in sides of the face's box, as MediaPipe's own pipeline has it


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a picture; all coordinates are pixels of that picture."""

    landmarks: Floats  # ``(478, 3)``: the mesh and the irises; z grows away from the viewer, in pixels as well
    score: float = 1.0  # how sure the landmark model is that this is a face, 0 to 1

    @property
    def vertices(self) -> Floats:
        """The ``(468, 3)`` vertices of the mesh."""
        return self.landmarks[:VERTICES]

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the mesh."""
        (left, top), (right, bottom) = (end(self.vertices[:, :2], axis=0).tolist() for end in (np.min, np.max))
        return left, top, right, bottom

    @cached_property
    def size(self) -> float:
        """The square root of the area of the face's outline, in pixels."""
        return math.sqrt(cv2.contourArea(cv2.convexHull(np.ascontiguousarray(self.vertices[:, :2]))))


def find_faces(picture: Pixels) -> list[Face]:
    """Return the upright faces of a BGR picture, the largest first; an empty list if there is none."""
    with _DETECTING:
        rows = np.concatenate([np.empty((0, 15), np.float32), *_on_each_scale(picture)])
    distinct = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), 0.0, OVERLAP_ACROSS_SCALES)
    faces = [_face(picture, rows[number]) for number in distinct]
    return sorted((face for face in faces if face.score >= MIN_SCORE), key=lambda face: -face.size)


def refined(picture: Pixels, landmarks: Floats) -> Face:
    """Return a face from a mesh near it: that of the frame before, in a video."""
    eye_line = landmarks[LEFT_EYE_CORNER, :2] - landmarks[RIGHT_EYE_CORNER, :2]
    cos, sin = eye_line / np.linalg.norm(eye_line)
    upright = as_floats([[cos, sin], [-sin, cos]])
    points = landmarks[:VERTICES, :2] @ upright.T
    low, high = points.min(0), points.max(0)
    return _laid(picture, (low + high) / 2 @ upright, float((high - low).max()), eye_line)


def load_models() -> None:
    """Load both models now instead of at the first picture (about 20 ms)."""
    _detectors()
    _landmark_model()


@cache
def _detectors() -> list[cv2.FaceDetectorYN]:
    """Return one network for each scale: one that alternates between sizes allocates its layers anew each time."""
    path = str(WEIGHTS / "face_detection_yunet_2023mar.onnx")
    return [cv2.FaceDetectorYN.create(path, "", (320, 320), 0.7, OVERLAP_IN_SCALE, 5000) for _ in SCALES]


@cache
def _landmark_model() -> Network:
    return Network(cv2.dnn.readNetFromTFLite(str(WEIGHTS / "face_landmarks_detector.tflite")))


def _on_each_scale(picture: Pixels) -> Iterator[Floats]:
    """Yield one row of 15 numbers for each face: box, five points, score."""
    longest = max(picture.shape[:2])
    for network, scale in zip(_detectors(), SCALES, strict=True):
        copy = resized(picture, scale * min(1.0, LONGEST_SIDE / longest))
        if min(copy.shape[:2]) < SMALLEST_SIDE:
            continue
        network.setInputSize((copy.shape[1], copy.shape[0]))
        rows: Any = network.detect(copy)[1]  # None without a face, which the stub leaves out
        if rows is not None:
            yield np.hstack([rows[:, :14] * (longest / max(copy.shape[:2])), rows[:, 14:]])


def resized(picture: Pixels, scale: float) -> Pixels:
    """Return a picture reduced to a scale; the picture itself where the scale is not below 1."""
    if scale >= 1:
        return picture
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _face(picture: Pixels, row: Floats) -> Face:
    """Return the face of one detector row; a second mesh, from a crop centred on the first, is steadier."""
    corner, size, right_eye, left_eye = row[:8].reshape(4, 2)
    return refined(picture, _laid(picture, corner + size / 2, float(size.max()), left_eye - right_eye).landmarks)


def _laid(picture: Pixels, middle: Floats, side: float, eye_line: Floats) -> Face:
    """Return the face around a place, from a square crop whose upper side is parallel to the eyes."""
    scale = INPUT_SIDE / (CROP * side)
    angle = math.degrees(math.atan2(eye_line[1], eye_line[0]))
    to_crop = as_floats(cv2.getRotationMatrix2D(middle.tolist(), angle, scale))
    to_crop[:, 2] += INPUT_SIDE / 2 - middle
    # the warp reads four pixels a point: a large face is reduced first, to 1.5 pixels a point, or it aliases
    share = 1.5 * scale if scale < 0.5 else 1.0
    crop = cv2.warpAffine(resized(picture, share), to_crop / as_floats([share, share, 1]), (INPUT_SIDE, INPUT_SIDE))
    blob = cv2.dnn.blobFromImage(crop, 1 / 255.0, swapRB=True)
    found, logit = _landmark_model()(blob, "Identity", "Identity_1")
    points = found.reshape(-1, 3)
    flat = cv2.transform(points[None, :, :2], cv2.invertAffineTransform(to_crop))[0]
    return Face(as_floats(np.column_stack([flat, points[:, 2] / scale])), 1 / (1 + math.exp(-logit.item())))
