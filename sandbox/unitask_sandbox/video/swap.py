"""The face swap in a video: faces are found once, followed, and replaced in each frame in which they show.

The mesh of a face in one frame is refined into that of the next, which takes a third of the time and keeps faces apart.
Where that fails, and from time to time anyway, faces are searched again.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from unitask_sandbox.faces.arrays import Floats, Pixels, as_floats
from unitask_sandbox.faces.detect import Face, find_faces, refined
from unitask_sandbox.faces.pictures import MAX_SIDE, SWAPPED, decode, no_face
from unitask_sandbox.faces.swap import SourceFace, in_order, pairs, swap_face
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.video.clip import Clip, remade

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


_ANY_NUMBER: Final = 10**9  # faces of a video whose frames are not decoded yet


def swap_in_video(clip: Clip, picture: bytes, swap_index: str = "", target_index: str = "") -> tuple[bytes, int]:
    """Return the video with faces of the picture on faces of it, and the number of frames in which one was replaced.

    Without numbers the largest face of the picture goes onto the largest one of the first frame that shows any. Numbers
    count the faces of the first frame that shows as many as they need; earlier frames stay as they are.
    """
    pixels = decode(picture, "swap_image", MAX_SIDE + 1)  # up to 2048 pixels; piapi.ai, "Video Faceswap", 2025
    givers = find_faces(pixels)
    if not givers:
        raise no_face("swap_image")
    takers: list[int] = []
    if swap_index or target_index:
        numbers = pairs(swap_index, target_index, len(givers), _ANY_NUMBER)
        ordered = in_order(givers)
        givers, takers = [ordered[giver] for giver, _ in numbers], [taker for _, taker in numbers]
    else:
        givers = givers[:1]
    swapping = _Swapping([SourceFace(pixels, face) for face in givers], takers, float(clip.rate))
    made = remade(clip, swapping, SWAPPED)
    if not swapping.frames:
        numbered = f" with the index {max(takers)}, numbered from 0 in any one frame" if takers else ""
        raise TaskFailure(f"no face found in the video ({clip.field}){numbered}")
    return made, swapping.frames


class _Swapping:
    """What is done to each frame."""

    def __init__(self, sources: Sequence[SourceFace], takers: Sequence[int], rate: float) -> None:
        self.frames = 0
        self._sources = sources
        self._takers = takers
        self._rate = rate
        self._tracks: Tracks | None = None

    def __call__(self, picture: Pixels) -> Pixels:
        self._tracks = self._tracks or self._begun(picture)
        if self._tracks is None:
            return picture
        swapped = picture
        for face, source in zip(self._tracks.follow(picture), self._sources, strict=True):
            if face is not None:
                swapped, _ = swap_face(swapped, face, source)
        self.frames += swapped is not picture
        return swapped

    def _begun(self, picture: Pixels) -> Tracks | None:
        faces = find_faces(picture)
        if len(faces) <= max(self._takers, default=0):
            return None
        ordered = in_order(faces)
        return Tracks([ordered[taker] for taker in self._takers] or faces[:1], self._rate)
