"""Cutting out of a picture what a text names.

There is no network here that understands words. What is known is where the mesh of each face lies (face, eyes, brows,
lips, teeth), what stands in front (person, background), and what is beside a face and has the colours of what is above
it (hair; a hat is taken for hair). For another word the salient object is taken, and the notes of the result say so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Flags, Pixels, as_floats, as_pixels
from unitask_sandbox.faces.detect import Face, find_faces
from unitask_sandbox.faces.mesh import INNER_LIPS, LEFT_BROW, LEFT_EYE, OUTER_LIPS, RIGHT_BROW, RIGHT_EYE, VERTICES
from unitask_sandbox.faces.pictures import decode, encode, no_face
from unitask_sandbox.faces.raster import Region, fill_outline
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.pictures.matting import cut_out, salient

_FOREHEAD, _CHIN = 10, 152  # vertices at the middle of the face's upper and lower end
_HAIR_SIDE: Final = 256  # hair is looked for on a copy of at most this side
_TOOTH_LIGHTNESS: Final = 90  # of 255, least
_TOOTH_SATURATION: Final = 110  # of 255, most: gums and tongue have more


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, and what is found in it; each thing is searched when it is first needed."""

    picture: Pixels  # ``(height, width, 3)`` BGR picture
    field: str  # the field of the input that holds the picture, for errors

    @cached_property
    def faces(self) -> list[Face]:
        """The faces, the largest first; maybe none."""
        return find_faces(self.picture)

    @cached_property
    def salient(self) -> Pixels:
        """How much each pixel belongs to what stands in front, 0 to 255."""
        return salient(self.picture)

    def mask(self, word: str) -> Pixels:
        """Return where something is, 0 to 255."""
        return WORDS[word](self)

    def on_faces(self, part: Callable[[Face], Pixels]) -> Pixels:
        """Return the masks of a part of each face, united."""
        if not self.faces:
            raise no_face(self.field)
        return united([part(face) for face in self.faces], self.picture)

    @property
    def whole(self) -> Region:
        """The region of the whole picture."""
        return Region(0, 0, self.picture.shape[1], self.picture.shape[0])


def united(masks: Sequence[Pixels], picture: Pixels) -> Pixels:
    """Return where any of the masks is; a black one for none."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    for other in masks:
        mask = as_pixels(np.maximum(mask, other))
    return mask


def _hull(face: Face, vertices: Sequence[int], region: Region) -> Pixels:
    outline = cv2.convexHull(np.ascontiguousarray(face.landmarks[list(vertices), :2]))
    return fill_outline(as_floats(outline)[:, 0], region)


def _face(scene: Scene) -> Pixels:
    return scene.on_faces(lambda face: _hull(face, range(VERTICES), scene.whole))


def _loops(*loops: Sequence[int]) -> Callable[[Scene], Pixels]:
    def find(scene: Scene) -> Pixels:
        def part(face: Face) -> Pixels:
            outlines = [fill_outline(face.landmarks[list(loop), :2], scene.whole) for loop in loops]
            return united(outlines, scene.picture)

        return scene.on_faces(part)

    return find


_mouth, _mouth_opening = _loops(OUTER_LIPS), _loops(INNER_LIPS)


def _teeth(scene: Scene) -> Pixels:
    """What is light and has little colour between the lips."""
    _, saturation, lightness = cv2.split(cv2.cvtColor(scene.picture, cv2.COLOR_BGR2HSV))
    bright = (lightness >= _TOOTH_LIGHTNESS) & (saturation <= _TOOTH_SATURATION)
    return as_pixels(_mouth_opening(scene) * bright)


def _person(scene: Scene) -> Pixels:
    """What stands in front and has a face, and the face itself; without any face, what stands in front."""
    if not scene.faces:
        return scene.salient
    face = _face(scene)
    bodies = _touched((scene.salient >= 128) | (face > 0), face > 0)
    around = as_pixels(cv2.dilate(bodies.astype(np.uint8), np.ones((5, 5), np.uint8)))  # with the soft edge
    return as_pixels(np.maximum(scene.salient * around, face))


def _touched(area: Flags, seed: Flags) -> Flags:
    """Return those of an area's connected parts that the seed touches."""
    parts = np.asarray(cv2.connectedComponents(area.astype(np.uint8))[1], np.int32)
    return np.asarray(np.isin(parts, np.unique(parts[seed & area])))


def _hair(scene: Scene) -> Pixels:
    def part(face: Face) -> Pixels:
        region = Region.around(face.landmarks, int(1.3 * np.sqrt(face.area)), scene.picture)
        mask = np.zeros(scene.picture.shape[:2], np.uint8)
        region.view(mask)[:] = _hair_in(scene, face, region)
        return mask

    return scene.on_faces(part)


def _hair_in(scene: Scene, face: Face, region: Region) -> Pixels:
    """Return the hair of a face in a region, by GrabCut from what is likely: hair above the face, and no hair on it."""
    height, width = region.shape
    reduction = min(1.0, _HAIR_SIDE / max(height, width))
    size = (max(1, round(width * reduction)), max(1, round(height * reduction)))
    patch, front, inside = (
        as_pixels(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
        for part in (region.view(scene.picture), region.view(scene.salient), _hull(face, range(VERTICES), region))
    )
    cap = _cap(face, region, size, inside) & (front >= 200)
    if not cap.any():
        return np.zeros(region.shape, np.uint8)
    guess = np.full(patch.shape[:2], cv2.GC_PR_BGD, np.uint8)
    guess[cap] = cv2.GC_PR_FGD
    depth = cv2.distanceTransform((inside > 127).astype(np.uint8), cv2.DIST_L2, 3)
    guess[(depth > 0.25 * depth.max()) | (front < 26)] = cv2.GC_BGD
    cv2.setRNGSeed(1)  # GrabCut begins with a clustering by chance
    cv2.grabCut(patch, guess, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    found = ((guess == cv2.GC_PR_FGD) | (guess == cv2.GC_FGD)) & (front >= 128)
    hair = as_pixels(_touched(found, cap) * np.uint8(255))
    soft = as_pixels(cv2.resize(hair, (width, height), interpolation=cv2.INTER_LINEAR))
    return as_pixels((soft > 127) * np.uint8(255))


def _cap(face: Face, region: Region, size: tuple[int, int], inside: Pixels) -> Flags:
    """Return where hair is likely: around the upper end of a face, within a quarter of its height."""
    scale = size[0] / region.shape[1]
    forehead, chin = (region.points(face.landmarks)[vertex] * scale for vertex in (_FOREHEAD, _CHIN))
    long = float(np.linalg.norm(forehead - chin))
    up = (forehead - chin) / max(long, 1e-6)
    y, x = np.mgrid[: size[1], : size[0]]
    height = (x - chin[0]) * up[0] + (y - chin[1]) * up[1]
    distance = cv2.distanceTransform((inside <= 127).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray((height > 0.85 * long) & (distance > 0.04 * long) & (distance < 0.25 * long))


# The words that are known, and what finds each
WORDS: Final[dict[str, Callable[[Scene], Pixels]]] = {
    "face": _face,
    "eyes": _loops(RIGHT_EYE, LEFT_EYE),
    "brows": lambda scene: scene.on_faces(
        lambda face: as_pixels(_hull(face, RIGHT_BROW, scene.whole) | _hull(face, LEFT_BROW, scene.whole))
    ),
    "lips": lambda scene: as_pixels(_mouth(scene) & ~_mouth_opening(scene)),
    "teeth": _teeth,
    "hair": _hair,
    "person": _person,
    "background": lambda scene: as_pixels(255 - scene.salient),
}


FIELD: Final = "image"
MARK: Final = "synthetic: cut out by the unitask sandbox"

# No side of the picture may reach this: up to 3072 pixels, says the page of the predecessor (goapi.ai, 2024-03)
LIMIT: Final = 3073

_SAME_AS: Final = {
    "eye": "eyes",
    "lip": "lips",
    "tooth": "teeth",
    "brow": "brows",
    "eyebrow": "brows",
    "eyebrows": "brows",
    "faces": "face",
    "persons": "person",
    "people": "person",
}


def segment(data: bytes, prompt: str, negative_prompt: str = "", factor: int = 0) -> tuple[bytes, list[str]]:
    """Return a PNG that is transparent where nothing is named, and notes on what was done otherwise than requested.

    Both prompts are words with commas between. The mask grows by ``factor`` pixels, or shrinks.
    """
    scene = Scene(decode(data, FIELD, LIMIT), FIELD)
    wanted, unwanted = _words(prompt), _words(negative_prompt)
    mask = united([scene.mask(word) if word in WORDS else scene.salient for word in wanted], scene.picture)
    if not mask.any():
        raise TaskFailure(f"nothing found in the image ({FIELD}) for the prompt {prompt[:100]!r}")
    taken_away = united([scene.mask(word) for word in unwanted if word in WORDS], scene.picture)
    mask = _grown(np.minimum(mask, 255 - taken_away), factor)
    return encode(cut_out(scene.picture, mask), MARK), _notes(scene, wanted, unwanted, mask)


def _words(prompt: str) -> list[str]:
    words = (word.strip().lower() for word in prompt.split(","))
    return [_SAME_AS.get(word, word) for word in words if word]


def _grown(mask: Pixels, pixels: int) -> Pixels:
    """Return a mask whose border is moved outward by so many pixels, or inward; 0 leaves its soft edges as they are."""
    if not pixels:
        return mask
    inside = (mask >= 128).astype(np.uint8)
    distance = cv2.distanceTransform(1 - inside if pixels > 0 else inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    reach = min(abs(pixels), 2 * LIMIT)
    return as_pixels((distance <= reach if pixels > 0 else distance > reach) * np.uint8(255))


def _notes(scene: Scene, wanted: list[str], unwanted: list[str], mask: Pixels) -> list[str]:
    known = f"known are {', '.join(WORDS)}"
    notes = [f"{word!r} is not known: the salient object was taken; {known}" for word in wanted if word not in WORDS]
    notes += [f"{word!r} is not known: nothing was left out for it; {known}" for word in unwanted if word not in WORDS]
    if "person" in wanted and not scene.faces:
        notes.append("there is no face: the salient object was taken for the person")
    if not mask.any():
        notes.append("nothing is left after negative_prompt and segment_factor: the picture is empty")
    return notes
