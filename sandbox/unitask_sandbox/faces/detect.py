"""Finding faces: YuNet says where they are, MediaPipe's landmark model lays a mesh of 478 points on each.

Both models run inside OpenCV. They are loaded once per process, and a lock keeps threads from sharing a
network's input and output.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Final, cast

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Floats, Network, Pixels, as_floats, as_pixels
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

    box: Floats  # ``(4,)``: x, y, width, height
    points: Floats  # ``(5, 2)``: the subject's right eye, left eye, tip of the nose, right and left corner of the mouth
    landmarks: Floats  # ``(478, 3)``: the mesh; z grows away from the viewer, in pixels as well
    score: float  # how sure the landmark model is that this is a face, 0 to 1

    @property
    def area(self) -> float:
        """The area of the face's outline, in square pixels."""
        return outline_area(self.landmarks)


def outline_area(landmarks: Floats) -> float:
    """Return the area of the convex hull of a mesh, in square pixels."""
    return cv2.contourArea(cv2.convexHull(np.ascontiguousarray(landmarks[:VERTICES, :2])))


def find_faces(picture: Pixels) -> list[Face]:
    """Return the faces of a BGR picture, the largest first; an empty list if there is none.

    A picture without an upright face is searched again turned by 90, 270 and 180 degrees, and the turn that
    shows most is taken. The faces come back in the coordinates of the picture as it was given.
    """
    upright = _find_upright(picture)
    if upright:
        return upright
    found: list[Face] = []
    for turns in (1, 3, 2):
        turned = _find_upright(np.ascontiguousarray(np.rot90(picture, turns)))
        if sum(face.area for face in turned) > sum(face.area for face in found):
            found = [_turn_back(face, turns, picture) for face in turned]
    return found


def refined(picture: Pixels, landmarks: Floats) -> tuple[Floats, float]:
    """Return a face's mesh and how surely it is one, from a mesh near it: that of the frame before, in a video."""
    eye_line = landmarks[LEFT_EYE_CORNER, :2] - landmarks[RIGHT_EYE_CORNER, :2]
    cos, sin = _direction(eye_line)
    upright = np.array([[cos, sin], [-sin, cos]], np.float32)
    points = landmarks[:VERTICES, :2] @ upright.T
    low, high = points.min(0), points.max(0)
    centre = ((low + high) / 2) @ upright
    return _mesh(picture, centre, CROP * (high - low).max(), eye_line)


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


def _find_upright(picture: Pixels) -> list[Face]:
    with _DETECTING:
        found = list(_on_each_scale(picture))
    if not found:
        return []
    rows = np.concatenate(found)
    boxes: list[list[float]] = rows[:, :4].tolist()
    scores: list[float] = rows[:, 14].tolist()
    distinct = rows[list(cv2.dnn.NMSBoxes(boxes, scores, 0.0, OVERLAP_ACROSS_SCALES))]
    faces = [face for row in distinct if (face := _face(picture, row)).score >= MIN_SCORE]
    return sorted(faces, key=lambda face: -face.area)


def _on_each_scale(picture: Pixels) -> Iterator[Floats]:
    """Yield one row of 15 numbers for each face: box, five points, score."""
    reduction = min(1.0, LONGEST_SIDE / max(picture.shape[:2]))
    largest = _resized(picture, reduction)
    for network, scale in zip(_detectors(), SCALES, strict=True):
        if round(min(largest.shape[:2]) * scale) < SMALLEST_SIDE:
            continue
        copy = _resized(largest, scale)
        height, width = copy.shape[:2]
        network.setInputSize((width, height))
        rows = cast("Floats | None", network.detect(copy)[1])  # the stub leaves out None: no face
        if rows is not None:
            rows = rows.copy()
            rows[:, :14] /= reduction * width / largest.shape[1]
            yield rows


def _resized(picture: Pixels, scale: float) -> Pixels:
    if scale >= 1:
        return picture
    return as_pixels(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _face(picture: Pixels, row: Floats) -> Face:
    """Return the face of one detector row; a second mesh, from a crop centred on the first, is steadier."""
    corner, size, points = row[:2], row[2:4], row[4:14].reshape(5, 2)
    centre = as_floats(corner + size / 2)
    landmarks, _ = _mesh(picture, centre, CROP * size.max(), points[1] - points[0])
    landmarks, score = refined(picture, landmarks)
    return Face(row[:4], points, landmarks, score)


def _turn_back(face: Face, turns: int, picture: Pixels) -> Face:
    """Return a face found on ``rot90(picture, turns)`` in the coordinates of the picture itself."""
    landmarks = face.landmarks.copy()
    landmarks[:, :2] = _points_back(face.landmarks, turns, picture)
    low, high = landmarks[:VERTICES, :2].min(0), landmarks[:VERTICES, :2].max(0)
    box = np.concatenate([low, high - low])
    return Face(box, _points_back(face.points, turns, picture), landmarks, face.score)


def _points_back(points: Floats, turns: int, picture: Pixels) -> Floats:
    height, width = picture.shape[:2]
    x, y = points[:, 0], points[:, 1]
    if turns == 1:
        return np.stack([width - 1 - y, x], axis=1)
    if turns == 2:
        return np.stack([width - 1 - x, height - 1 - y], axis=1)
    return np.stack([y, height - 1 - x], axis=1)


def _mesh(picture: Pixels, centre: Floats, side: np.float32, eye_line: Floats) -> tuple[Floats, float]:
    """Return mesh and score of the square around ``centre`` whose upper side is parallel to the eyes."""
    scale = side / INPUT_SIDE
    crop_to_picture = _placement(centre, scale, eye_line)
    blob = cv2.dnn.blobFromImage(
        _crop(picture, crop_to_picture, scale), 1 / 255.0, (INPUT_SIDE, INPUT_SIDE), swapRB=True
    )
    points, logit = _landmark_model()(blob, "Identity", "Identity_1")
    points = points.reshape(-1, 3)
    flat = np.column_stack([points[:, :2], np.ones(len(points))]) @ crop_to_picture.T
    score = 1 / (1 + np.exp(-float(logit.ravel()[0])))
    return as_floats(np.column_stack([flat, points[:, 2] * scale])), float(score)


def _crop(picture: Pixels, crop_to_picture: Floats, scale: np.float32) -> Pixels:
    if scale > 2:  # the warp reads four pixels a point: reduce first, to 1.5 pixels a point, or it aliases
        reduction = 1 / (scale / 1.5)
        picture = _resized(picture, float(reduction))
        crop_to_picture = crop_to_picture * reduction
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (INPUT_SIDE, INPUT_SIDE)
    return as_pixels(cv2.warpAffine(picture, crop_to_picture, size, flags=flags, borderMode=cv2.BORDER_CONSTANT))


def _direction(line: Floats) -> tuple[np.float32, np.float32]:
    angle = np.arctan2(line[1], line[0])
    return np.cos(angle), np.sin(angle)


def _placement(centre: Floats, scale: np.float32, eye_line: Floats) -> Floats:
    """Return the ``(2, 3)`` matrix from pixels of a square crop to pixels of the picture."""
    cos, sin = _direction(eye_line)
    left = centre[0] - scale * (cos - sin) * INPUT_SIDE / 2
    top = centre[1] - scale * (sin + cos) * INPUT_SIDE / 2
    return np.array([[scale * cos, -scale * sin, left], [scale * sin, scale * cos, top]], np.float32)
