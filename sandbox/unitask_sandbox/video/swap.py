"""The face swap in a video: faces are found once, followed, and replaced in each frame in which they show.

The mesh of a face in one frame is refined into that of the next, which takes a third of the time and keeps faces apart.
Where that fails, and from time to time anyway, faces are searched again.
"""

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

SEARCH_AGAIN: Final = 25  # frames
LEAST_SCORE: Final = 0.6  # of a face that is followed; one that is found anew must be surer
REACH: Final = 1.0  # how far a lost face may have moved, in sizes of the face

# How much of the way to its place in a new frame a point goes: still ones little, so that they do not shake, and moving
# ones much, so that they do not lag
STILL_SHARE: Final = 0.25
SHARE_OF_MOVING: Final = 4.0  # more, for each size of the face that it moves in a frame

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
    swapping = Swapping([SourceFace(pixels, face) for face in givers], takers)
    made = remade(clip, swapping, SWAPPED)
    if not swapping.frames:
        numbered = f" with the index {max(takers)}, numbered from 0 in any one frame" if takers else ""
        raise TaskFailure(f"no face found in the video ({clip.field}){numbered}")
    return made, swapping.frames


class Swapping:
    """Replaces the faces in each frame: the largest, or those of the numbers of `takers`."""

    def __init__(self, sources: Sequence[SourceFace], takers: Sequence[int]) -> None:
        self.frames = 0  # in which a face was replaced
        self._sources = sources
        self._takers = takers
        self._last: list[Face] = []  # where each face was seen last; empty before the first frame that shows them
        self._smooth: list[Floats | None] = []  # its landmarks, smoothed; None while it cannot be seen
        self._until_search = 0  # frames

    def __call__(self, picture: Pixels) -> Pixels:
        """Return a frame with the faces replaced."""
        if not self._last:
            self._last = self._first(picture)
            self._smooth = [None] * len(self._last)
            self._until_search = SEARCH_AGAIN
        self._follow(picture)
        swapped = picture
        for source, last, landmarks in zip(self._sources, self._last, self._smooth, strict=False):
            if landmarks is not None:
                swapped, _ = swap_face(swapped, replace(last, landmarks=landmarks), source)
        self.frames += swapped is not picture
        return swapped

    def _first(self, picture: Pixels) -> list[Face]:
        faces = find_faces(picture)
        if len(faces) <= max(self._takers, default=0):
            return []
        ordered = in_order(faces)
        return [ordered[taker] for taker in self._takers] or faces[:1]

    def _follow(self, picture: Pixels) -> None:
        followed = [refined(picture, face.landmarks) for face in self._last]
        found = [face if face.score >= LEAST_SCORE else None for face in followed]
        self._until_search -= 1
        if None in found or not self._until_search:
            found = self._found_again(picture, found)
            self._until_search = SEARCH_AGAIN
        for number, face in enumerate(found):
            self._smooth[number] = smoothed(self._smooth[number], face) if face else None
            self._last[number] = face or self._last[number]

    def _found_again(self, picture: Pixels, found: list[Face | None]) -> list[Face | None]:
        """Return the faces that are near where each was, each given to one; the others as they were followed."""
        free = find_faces(picture)
        again: list[Face | None] = []
        for last, followed in zip(self._last, found, strict=True):
            nearest = min(free, key=lambda face: _apart(face, followed or last), default=None)
            if nearest is None or _apart(nearest, followed or last) > REACH * last.size:
                again.append(followed)
                continue
            free.remove(nearest)
            again.append(nearest)
        return again


def smoothed(before: Floats | None, face: Face) -> Floats:
    """Return the landmarks of a face between those of the frame before and its own; its own after a frame without."""
    if before is None:
        return face.landmarks
    moved = face.landmarks - before
    speed = np.linalg.norm(moved, axis=1, keepdims=True) / face.size
    return as_floats(before + np.minimum(1.0, STILL_SHARE + SHARE_OF_MOVING * speed) * moved)


def _apart(one: Face, other: Face) -> float:
    return float(np.linalg.norm(one.landmarks[:, :2].mean(0) - other.landmarks[:, :2].mean(0)))
