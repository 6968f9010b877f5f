"""Which face a number means, and which faces two lists of numbers pair.

The pages (piapi.ai, Faceswap, "Multi Faceswap" and "Video Faceswap", 2025) say: faces are numbered from 0, mostly from
left to right; of two on a diagonal the lower one is 0, whichever side it is on. The rule made from that: faces side by
side, at least in part, are a row; rows are counted from the lowest, faces from left to right in their row.

The pages leave open: an absent list counts from 0, over as many faces as the other list names, or as both pictures
show. A face that does not exist, lists of two lengths and a target named twice fail the task.
"""

import re
from collections.abc import Sequence

from unitask_sandbox.faces.detect import Face
from unitask_sandbox.failures import TaskFailure


def in_order(faces: Sequence[Face]) -> list[Face]:
    """Return the faces in the order of their numbers: a face's number is its place in the list."""
    rows: list[list[Face]] = []
    for face in sorted(faces, key=_bottom, reverse=True):
        row = next((row for row in rows if any(_beside(face, other) for other in row)), None)
        if row is None:
            rows.append([face])
        else:
            row.append(face)
    return [face for row in rows for face in sorted(row, key=lambda face: float(face.box[0]))]


def _bottom(face: Face) -> float:
    return float(face.box[1] + face.box[3])


def _beside(one: Face, other: Face) -> bool:
    return bool(one.box[1] < _bottom(other) and other.box[1] < _bottom(one))


def pairs(swap_index: str, target_index: str, givers: int, takers: int) -> list[tuple[int, int]]:
    """Return which face of the source goes onto which of the target; an index is numbers, with commas or spaces."""
    named, wanted = _numbers("swap_faces_index", swap_index), _numbers("target_faces_index", target_index)
    count = len(named) or len(wanted) or min(givers, takers)
    named, wanted = named or list(range(count)), wanted or list(range(count))
    if len(named) != len(wanted):
        words = f"swap_faces_index {swap_index!r} names {len(named)} faces and target_faces_index {target_index!r} "
        raise TaskFailure(f"{words}{len(wanted)}: give as many of both")
    if len(set(wanted)) < len(wanted):
        raise TaskFailure(f"target_faces_index {target_index!r} names a face twice")
    for field, numbers, shown in (("swap_image", named, givers), ("target_image", wanted, takers)):
        if (highest := max(numbers, default=-1)) >= shown:
            words = f"with the index {highest}: it shows {shown}, numbered from 0"
            raise TaskFailure(f"no face found in the image ({field}) {words}")
    return list(zip(named, wanted, strict=True))


def _numbers(field: str, text: str) -> list[int]:
    parts = [part for part in re.split(r"[\s,]+", text) if part]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise TaskFailure(f'{field} {text[:40]!r}: give the numbers of faces, from 0, as in "0,1"')
    return [int(part) for part in parts]
