"""The face swap: warp the source's face onto the target's mesh, relight it, blend it in.

1. The target's mesh takes the source's proportions (``geometry.transfer_shape``).
2. The source's pixels are warped onto it, triangle by triangle; what a turned source hides is mirrored.
3. Skin of both faces gives the light of the target (``light``); hair on the forehead stays the target's.
4. An open mouth stays the target's: tongue and teeth are expression.
5. A multi-band blend hides the border (``blend``). Pixels outside the mask are the target's, bit by bit.

Faces are numbered from 0 (piapi.ai, Faceswap, 2025): faces side by side, at least in part, are a row; rows are counted
from the lowest, faces from left to right in their row. An absent list counts from 0, over as many faces as the other
list names, or as both pictures show.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Flags, Floats, Pixels, as_floats
from unitask_sandbox.faces.blend import compose, depth_inside, face_weight, feature_mask
from unitask_sandbox.faces.detect import Face, find_faces, load_models, resized
from unitask_sandbox.faces.geometry import facing, smoothstep, transfer_shape
from unitask_sandbox.faces.light import blur, kept_hair, match_grain, relight, skin_likelihood
from unitask_sandbox.faces.mesh import INNER_LIPS, LOWER_LIP, UPPER_LIP, canonical_mesh
from unitask_sandbox.faces.pictures import SWAPPED, decode, encode, no_face
from unitask_sandbox.faces.raster import Region, fill_outline, interpolate, rasterise
from unitask_sandbox.failures import TaskFailure


def in_order(faces: Sequence[Face]) -> list[Face]:
    """Return the faces in the order of their numbers: a face's number is its place in the list."""
    rows: list[list[Face]] = []
    for face in sorted(faces, key=lambda face: face.box[3], reverse=True):
        row = next((row for row in rows if any(_beside(face, other) for other in row)), None)
        if row is None:
            rows.append([face])
        else:
            row.append(face)
    return [face for row in rows for face in sorted(row, key=lambda face: face.box[0])]


def _beside(one: Face, other: Face) -> bool:
    return one.box[1] < other.box[3] and other.box[1] < one.box[3]


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
    for name, numbers, shown in (("swap_image", named, givers), ("target_image", wanted, takers)):
        if (highest := max(numbers, default=-1)) >= shown:
            words = f"with the index {highest}: it shows {shown}, numbered from 0"
            raise TaskFailure(f"no face found in the image ({name}) {words}")
    return list(zip(named, wanted, strict=True))


def _numbers(field: str, text: str) -> list[int]:
    parts = [part for part in re.split(r"[\s,]+", text) if part]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise TaskFailure(f'{field} {text[:40]!r}: give the numbers of faces, from 0, as in "0,1"')
    return [int(part) for part in parts]


def warm_up(threads: int) -> None:
    """Load models and tables, so that the first picture does not pay for it. Call it where a worker starts."""
    cv2.setNumThreads(threads)
    load_models()
    canonical_mesh()


def swap_largest(target: bytes, source: bytes) -> bytes:
    """Return the target picture with the source's largest face on its largest face, as a marked PNG."""
    target_picture, takers = _faces(target, "target_image")
    source_picture, givers = _faces(source, "swap_image")
    swapped, _ = swap_face(target_picture, takers[0], SourceFace(source_picture, givers[0]))
    return encode(swapped, SWAPPED)


def swap_numbered(target: bytes, source: bytes, swap_index: str = "", target_index: str = "") -> bytes:
    """Return the target picture with faces of the source on those of its faces that are named by number."""
    target_picture, takers = _faces(target, "target_image")
    source_picture, givers = _faces(source, "swap_image")
    takers, sources = in_order(takers), [SourceFace(source_picture, face) for face in in_order(givers)]
    for giver, taker in pairs(swap_index, target_index, len(sources), len(takers)):
        target_picture, _ = swap_face(target_picture, takers[taker], sources[giver])
    return encode(target_picture, SWAPPED)


def _faces(data: bytes, field: str) -> tuple[Pixels, list[Face]]:
    picture = decode(data, field)
    faces = find_faces(picture)
    if not faces:
        raise no_face(field)
    return picture, faces


@dataclass(frozen=True, eq=False)
class SourceFace:
    """The face that is put onto others; what is derived from it is kept for the next target."""

    picture: Pixels
    face: Face  # of that picture, from ``find_faces``

    @cached_property
    def facing(self) -> Floats:
        """How much each vertex faces the viewer (``geometry.facing``)."""
        return facing(self.face.vertices)


@dataclass(frozen=True, eq=False)
class _Warp:
    """The source's face in the target's place, over the target's region."""

    pixels: Floats  # BGR; meaningless where not covered
    covered: Flags  # where the mesh is
    forehead: Floats  # the mesh's forehead weight, 0 to 1


def swap_face(target: Pixels, face: Face, source: SourceFace) -> tuple[Pixels, Pixels]:
    """Return a copy of a BGR picture with one of its faces replaced, and a mask: 255 where it may differ."""
    region = Region.around(face.box, int(0.35 * face.size) + 4, target)
    patch = region.view(target)
    moulded = transfer_shape(source.face.vertices, source.facing, face.vertices)
    warp = _warp(source, moulded, region, face.size)
    depth = depth_inside(warp.covered)
    margin = max(1, int(0.03 * face.size))
    features = feature_mask(face.vertices, region, margin) | feature_mask(moulded, region, margin)
    relit, hair = _relight(warp, patch, depth, features, face.size)
    relit = _keep_open_mouth(relit, patch, face, moulded, region)
    weight = blur(face_weight(depth, hair, face.size), 0.01 * face.size) * (depth > 0)
    new_patch, patch_mask = compose(relit, patch, weight, face.size)
    swapped, mask = target.copy(), np.zeros(target.shape[:2], np.uint8)
    region.view(swapped)[:] = new_patch
    region.view(mask)[:] = patch_mask
    return swapped, mask


def _warp(source: SourceFace, moulded: Floats, region: Region, size: float) -> _Warp:
    """Return the source's face drawn on the moulded mesh."""
    picture = resized(source.picture, 1.5 * size / source.face.size)  # a warp that shrinks would alias
    mesh = canonical_mesh()
    places = source.face.vertices[:, :2] * (picture.shape[1] / source.picture.shape[1])
    visible = smoothstep(source.facing, 0.05, 0.4)
    values = np.column_stack([places, places[mesh.mirror], visible, visible[mesh.mirror], mesh.forehead])
    seen = rasterise(moulded, region)
    spread = interpolate(values, seen, moulded, region)
    own, mirrored = (
        as_floats(cv2.remap(picture, spread[..., at], spread[..., at + 1], cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE))
        for at in (0, 2)
    )
    # each pixel's share from the other half of the face: of what is hidden here and seen there
    shown, shown_mirrored = spread[..., 4], spread[..., 5] * (1 - spread[..., 4])
    share = blur(shown_mirrored / (shown + shown_mirrored + 1e-3), 0.02 * size)[..., None]
    return _Warp(as_floats(own * (1 - share) + mirrored * share), seen >= 0, spread[..., 6])


def _relight(warp: _Warp, patch: Pixels, depth: Floats, features: Pixels, size: float) -> tuple[Floats, Floats]:
    """Return the warped face under the target's light, and where the target's hair covers the forehead."""
    original = as_floats(patch)
    target, warped = (cv2.cvtColor(picture / 255, cv2.COLOR_BGR2Lab) for picture in (original, warp.pixels))
    surely_skin = (depth > 0.12 * size) & (features == 0) & (warp.forehead < 0.3)
    skins = [skin_likelihood(lab, surely_skin) for lab in (target, warped)]
    # skin beside the features is evidence of the light; the rest keeps a trace, so that a mean is defined everywhere
    plain = warp.covered & (features == 0)
    target_weight, warped_weight = (as_floats(plain * skin + 1e-4 * warp.covered) for skin in skins)
    relit = relight(target, warped, target_weight, warped_weight, size)
    return match_grain(relit, original, surely_skin), kept_hair(np.minimum(*skins), warp.forehead, size)


def _keep_open_mouth(picture: Floats, patch: Pixels, face: Face, moulded: Floats, region: Region) -> Floats:
    """Return the picture with the target's own mouth between the lips, as far as it is open."""
    vertices, lips = face.vertices, list(INNER_LIPS)
    opening = np.linalg.norm(vertices[UPPER_LIP, :2] - vertices[LOWER_LIP, :2]) / face.size
    hole = as_floats(fill_outline(moulded[lips], region)) / 255
    weight = blur(hole, max(0.5, 0.006 * face.size))[..., None] * smoothstep(as_floats(opening), 0.015, 0.04)
    moved = (moulded[lips, :2] - vertices[lips, :2]).mean(0)  # by the transfer of the source's shape
    shift = np.column_stack([np.eye(2), moved])
    mouth = cv2.warpAffine(as_floats(patch), shift, patch.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    return as_floats(picture * (1 - weight) + mouth * weight)
