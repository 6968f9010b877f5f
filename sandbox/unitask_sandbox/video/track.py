"""Faces followed through a video.

A face is found once; from then on its mesh in one frame is refined into that of the next, which takes a third of the
time and keeps faces apart. Where that fails, and from time to time anyway, faces are looked for again.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from unitask_sandbox.faces.arrays import Floats, Pixels, as_floats
from unitask_sandbox.faces.detect import Face, find_faces, refined

LOOK_AGAIN: Final = 25  # frames
LEAST_SCORE: Final = 0.6  # of a face that is followed; one that is found anew must be surer
REACH: Final = 1.0  # how far a lost face may have moved, in sizes of the face


class OneEuro:
    """Smooths a set of points over time: still ones much, moving ones little, so that they do not lag.

    Casiez, Roussel and Vogel, "1 € Filter" (CHI 2012), with one speed a point.
    """

    STILL: Final = 1.2  # Hz: the cutoff for a point that does not move
    FASTER: Final = 2.0  # by how much the cutoff grows with the speed, in Hz for each size of the face a second
    OF_SPEED: Final = 1.0  # Hz: the cutoff for the speed itself

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._points: Floats | None = None
        self._speed: Floats | None = None

    def __call__(self, points: Floats, size: float) -> Floats:
        """Return the points of a frame smoothed; ``size`` is that of the face, in pixels."""
        if self._points is None or self._speed is None:
            self._points, self._speed = points, np.zeros_like(points)
            return points
        moved = (points - self._points) * (self._rate / size)
        self._speed = as_floats(self._speed + self._share(self.OF_SPEED) * (moved - self._speed))
        cutoff = self.STILL + self.FASTER * np.linalg.norm(self._speed, axis=1, keepdims=True)
        self._points = as_floats(self._points + self._share(as_floats(cutoff)) * (points - self._points))
        return self._points

    def _share(self, cutoff: Floats | float) -> Floats:
        return as_floats(1 / (1 + self._rate / (2 * math.pi * cutoff)))


class Tracks:
    """Several faces of a video, followed together."""

    def __init__(self, faces: Sequence[Face], rate: float) -> None:
        self._rate = rate
        self._last = list(faces)
        self._smooth = [OneEuro(rate) for _ in faces]
        self._frames = 0

    def follow(self, picture: Pixels) -> list[Face | None]:
        """Return where each face is in the next frame, in the order of the first; None while it cannot be seen."""
        found = [_followed(picture, face) for face in self._last]
        self._frames += 1
        if None in found or self._frames % LOOK_AGAIN == 0:
            found = self._found_again(picture, found)
        return [self._kept(number, face) for number, face in enumerate(found)]

    def _found_again(self, picture: Pixels, found: list[Face | None]) -> list[Face | None]:
        """Return the faces that are near where each was, each given to one; the others as they were followed."""
        free = find_faces(picture)
        again: list[Face | None] = []
        for last, followed in zip(self._last, found, strict=True):
            nearest = min(free, key=lambda face: _apart(face, followed or last), default=None)
            if nearest is None or _apart(nearest, followed or last) > REACH * math.sqrt(last.area):
                again.append(followed)
                continue
            free.remove(nearest)
            again.append(nearest)
        return again

    def _kept(self, number: int, face: Face | None) -> Face | None:
        if face is None:
            self._smooth[number] = OneEuro(self._rate)
            return None
        self._last[number] = face
        return replace(face, landmarks=self._smooth[number](face.landmarks, math.sqrt(face.area)))


def _followed(picture: Pixels, face: Face) -> Face | None:
    landmarks, score = refined(picture, face.landmarks)
    return None if score < LEAST_SCORE else replace(face, landmarks=landmarks, score=score)


def _apart(one: Face, other: Face) -> float:
    return float(np.linalg.norm(one.landmarks[:, :2].mean(0) - other.landmarks[:, :2].mean(0)))
