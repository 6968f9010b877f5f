"""The face swap in a video: faces are found once, followed, and replaced in each frame in which they show."""

from collections.abc import Sequence
from typing import Final

from unitask_sandbox.faces.arrays import Pixels
from unitask_sandbox.faces.detect import Face, find_faces
from unitask_sandbox.faces.numbering import in_order, pairs
from unitask_sandbox.faces.pictures import MAX_SIDE, SWAPPED, decode, no_face
from unitask_sandbox.faces.swap import SourceFace, swap_face
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.video.clip import Clip, remade
from unitask_sandbox.video.track import Tracks

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
        return Tracks(self._chosen(faces), self._rate)

    def _chosen(self, faces: Sequence[Face]) -> list[Face]:
        if not self._takers:
            return [faces[0]]
        ordered = in_order(faces)
        return [ordered[taker] for taker in self._takers]
