"""The face swap: warp the source's face onto the target's mesh, relight it, blend it in.

1. The target's mesh takes the source's proportions (``geometry.transfer_shape``).
2. The source's pixels are warped onto it, triangle by triangle; what a turned source hides is mirrored.
3. Skin of both faces gives the light of the target (``light``); hair on the forehead stays the target's.
4. An open mouth stays the target's: tongue and teeth are expression.
5. A multi-band blend hides the border (``blend``). Pixels outside the mask are the target's, bit by bit.

Faces have numbers (piapi.ai, Faceswap, "Multi Faceswap" and "Video Faceswap", 2025): from 0, mostly from left to right;
of two on a diagonal the lower one is 0. The rule made from that: faces side by side, at least in part, are a row; rows
are counted from the lowest, faces from left to right in their row. The pages leave open: an absent list counts from 0,
over as many faces as the other list names, or as both pictures show. A face that does not exist, lists of two lengths
and a target named twice fail the task.

There is no learned generator here: the outline of the head, hair, ears, and the frames of glasses at the temples
remain the target's.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Doubles, Flags, Floats, Pixels, as_floats, as_pixels
from unitask_sandbox.faces.blend import compose, depth_inside, face_weight, feature_mask
from unitask_sandbox.faces.detect import Face, find_faces, load_models, outline_area
from unitask_sandbox.faces.geometry import facing, smoothstep, transfer_shape
from unitask_sandbox.faces.light import Relight, blur, evidence, kept_hair, match_grain, skin_likelihood, to_lab
from unitask_sandbox.faces.mesh import INNER_LIPS, LOWER_LIP, UPPER_LIP, VERTICES, canonical_mesh
from unitask_sandbox.faces.pictures import SWAPPED, decode, encode, no_face
from unitask_sandbox.faces.raster import Region, fill_outline, interpolate, rasterise
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


def warm_up(threads: int | None = None) -> None:
    """Load models and tables, so that the first picture does not pay for it. Call it where a worker starts."""
    if threads is not None:
        cv2.setNumThreads(threads)
    load_models()
    canonical_mesh()


def swap_largest(target: bytes, source: bytes) -> bytes:
    """Return the target picture with the source's largest face on its largest face, as a marked PNG."""
    target_picture, source_picture = decode(target, "target_image"), decode(source, "swap_image")
    face, giver = _faces(target_picture, "target_image")[0], _faces(source_picture, "swap_image")[0]
    swapped, _ = swap_face(target_picture, face, SourceFace(source_picture, giver))
    return encode(swapped, SWAPPED)


def swap_numbered(target: bytes, source: bytes, swap_index: str = "", target_index: str = "") -> bytes:
    """Return the target picture with faces of the source on those of its faces that are named by number."""
    target_picture, source_picture = decode(target, "target_image"), decode(source, "swap_image")
    takers = in_order(_faces(target_picture, "target_image"))
    sources = [SourceFace(source_picture, face) for face in in_order(_faces(source_picture, "swap_image"))]
    for giver, taker in pairs(swap_index, target_index, len(sources), len(takers)):
        target_picture, _ = swap_face(target_picture, takers[taker], sources[giver])
    return encode(target_picture, SWAPPED)


def _faces(picture: Pixels, field: str) -> list[Face]:
    faces = find_faces(picture)
    if not faces:
        raise no_face(field)
    return faces


@dataclass(frozen=True, eq=False)
class SourceFace:
    """The face that is put onto others; what is derived from it is kept for the next target."""

    picture: Pixels  # ``(height, width, 3)`` BGR picture
    face: Face  # the face of that picture, from ``find_faces``
    _reduced: dict[int, Pixels] = field(default_factory=dict[int, Pixels], init=False, repr=False)

    @cached_property
    def vertices(self) -> Floats:
        """The ``(468, 3)`` mesh vertices."""
        return self.face.landmarks[:VERTICES]

    @cached_property
    def facing(self) -> Doubles:
        """How much each vertex faces the viewer (``geometry.facing``)."""
        return facing(self.vertices)

    @cached_property
    def size(self) -> float:
        """The square root of the face's area, in pixels."""
        return math.sqrt(self.face.area)

    def reduced(self, scale: float) -> Pixels:
        """Return the picture reduced by a power of two, so that a warp that shrinks it to ``scale`` does not alias."""
        factor = 1
        while factor < 16 and scale * factor * 2 <= 1.05:
            factor *= 2
        if factor not in self._reduced:
            self._reduced[factor] = self._reduce(factor)
        return self._reduced[factor]

    def _reduce(self, factor: int) -> Pixels:
        if factor == 1:
            return self.picture
        share = 1 / factor
        return as_pixels(cv2.resize(self.picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA))


@dataclass(frozen=True, eq=False)
class _Warp:
    """The source's face in the target's place, over the target's region."""

    pixels: Floats  # BGR; meaningless where not covered
    covered: Flags  # where the mesh is
    forehead: Floats  # the mesh's forehead weight, 0 to 1


def swap_face(target: Pixels, face: Face, source: SourceFace) -> tuple[Pixels, Pixels]:
    """Return a copy of a BGR picture with one of its faces replaced, and a mask: 255 where it may differ."""
    vertices = face.landmarks[:VERTICES]
    size = math.sqrt(outline_area(vertices))
    region = Region.around(vertices, int(0.35 * size) + 4, target)
    patch = region.view(target)
    moulded = transfer_shape(source.vertices, source.facing, vertices)
    warp = _warp(source, moulded, region, size)
    depth = depth_inside(warp.covered)
    relit, hair = _relight(warp, patch, depth, _features(vertices, moulded, region, size), size)
    relit = _keep_open_mouth(relit, patch, vertices, moulded, region, size)
    weight = blur(face_weight(depth, hair, size), 0.01 * size) * (depth > 0)
    new_patch, patch_mask = compose(relit, patch, weight, size)
    swapped, mask = target.copy(), np.zeros(target.shape[:2], np.uint8)
    region.view(swapped)[:] = new_patch
    region.view(mask)[:] = patch_mask
    return swapped, mask


def _warp(source: SourceFace, moulded: Floats, region: Region, size: float) -> _Warp:
    """Return the source's face drawn on the moulded mesh."""
    picture = source.reduced(size / max(1.0, source.size))
    reduction = picture.shape[1] / source.picture.shape[1]
    mesh = canonical_mesh()
    places = source.vertices[:, :2] * reduction
    visible = smoothstep(source.facing, 0.05, 0.4).astype(np.float32)
    values = np.column_stack([places, places[mesh.mirror], visible, visible[mesh.mirror], mesh.forehead])
    seen = rasterise(moulded, region)
    spread = interpolate(values, seen, moulded, region)
    own, mirrored = _sample(picture, spread[..., 0:2]), _sample(picture, spread[..., 2:4])
    share = _mirrored_share(spread[..., 4], spread[..., 5], size)[..., None]
    return _Warp(as_floats(own * (1 - share) + mirrored * share), seen >= 0, spread[..., 6])


def _sample(picture: Pixels, places: Floats) -> Floats:
    x, y = places[..., 0], places[..., 1]
    return as_floats(cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def _mirrored_share(visible: Floats, visible_mirrored: Floats, size: float) -> Floats:
    """Return each pixel's share from the other half of the face: of what is hidden here and seen there."""
    mirrored = visible_mirrored * (1 - visible)
    return blur(as_floats(mirrored / (visible + mirrored + 1e-3)), 0.02 * size)


def _features(vertices: Floats, moulded: Floats, region: Region, size: float) -> Pixels:
    margin = max(1, int(0.03 * size))
    return feature_mask(vertices, region, margin) | feature_mask(moulded, region, margin)


def _relight(warp: _Warp, patch: Pixels, depth: Floats, features: Pixels, size: float) -> tuple[Floats, Floats]:
    """Return the warped face under the target's light, and where the target's hair covers the forehead."""
    original = patch.astype(np.float32)
    target_lab, warped_lab = to_lab(original), to_lab(np.clip(warp.pixels, 0, 255))
    surely_skin = (depth > 0.12 * size) & (features == 0) & (warp.forehead < 0.3)
    target_skin, warped_skin = (skin_likelihood(lab, surely_skin) for lab in (target_lab, warped_lab))
    target_weight, warped_weight = (evidence(warp.covered, skin, features) for skin in (target_skin, warped_skin))
    relit = Relight(target_lab, warped_lab, target_weight, warped_weight, size).apply()
    hair = kept_hair(np.minimum(target_skin, warped_skin), warp.forehead, size)
    return match_grain(relit, original, surely_skin, size), hair


def _keep_open_mouth(
    picture: Floats, patch: Pixels, vertices: Floats, moulded: Floats, region: Region, size: float
) -> Floats:
    """Return the picture with the target's own mouth between the lips, as far as it is open."""
    opening = np.linalg.norm(vertices[UPPER_LIP, :2] - vertices[LOWER_LIP, :2]) / size
    amount = smoothstep(as_floats(opening), 0.015, 0.04)
    if not amount:
        return picture
    lips = list(INNER_LIPS)
    hole = fill_outline(moulded[lips, :2], region).astype(np.float32) / 255
    weight = blur(as_floats(hole), max(0.5, 0.006 * size))[..., None] * amount
    moved = (moulded[lips, :2] - vertices[lips, :2]).mean(0)  # by the transfer of the source's shape
    return as_floats(picture * (1 - weight) + _shifted(patch.astype(np.float32), moved) * weight)


def _shifted(picture: Floats, by: Floats) -> Floats:
    matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], np.float32)
    size = (picture.shape[1], picture.shape[0])
    return as_floats(cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE))
