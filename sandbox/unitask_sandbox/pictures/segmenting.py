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

from unitask_sandbox.faces.arrays import Flags, Floats, Pixels
from unitask_sandbox.faces.detect import Face, find_faces, resized
from unitask_sandbox.faces.mesh import INNER_LIPS, LEFT_BROW, LEFT_EYE, OUTER_LIPS, RIGHT_BROW, RIGHT_EYE, VERTICES
from unitask_sandbox.faces.pictures import decode, encode, no_face
from unitask_sandbox.faces.raster import Region, fill_hull, fill_outline
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.pictures.matting import cut_out, salient

FIELD: Final = "image"
MARK: Final = "synthetic: cut out by the unitask sandbox"

# No side of the picture may reach this: up to 3072 pixels, says the page of the predecessor (goapi.ai, 2024-03)
LIMIT: Final = 3073

_FOREHEAD, _CHIN = 10, 152  # vertices at the middle of the face's upper and lower end
_HAIR_SIDE: Final = 256  # hair is looked for on a copy of at most this side
_TOOTH_LIGHTNESS: Final = 90  # of 255, least
_TOOTH_SATURATION: Final = 110  # of 255, most: gums and tongue have more


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, and what is found in it; each thing is searched when it is first needed."""

    picture: Pixels

    @cached_property
    def faces(self) -> list[Face]:
        """The faces, the largest first; maybe none."""
        return find_faces(self.picture)

    @cached_property
    def salient(self) -> Pixels:
        """How much each pixel belongs to what stands in front, 0 to 255."""
        return salient(self.picture)

    def parts(self, fill: Callable[[Floats, Region], Pixels], *parts: Sequence[int]) -> Pixels:
        """Return a mask of parts of every face, each filled from its vertices."""
        if not self.faces:
            raise no_face(FIELD)
        height, width = self.picture.shape[:2]
        masks = [fill(face.vertices[list(part)], Region(0, 0, width, height)) for face in self.faces for part in parts]
        united: Pixels = np.maximum.reduce(masks)
        return united


def _face(scene: Scene) -> Pixels:
    return scene.parts(fill_hull, range(VERTICES))


def _teeth(scene: Scene) -> Pixels:
    """What is light and has little colour between the lips."""
    _, saturation, lightness = cv2.split(cv2.cvtColor(scene.picture, cv2.COLOR_BGR2HSV))
    bright = (lightness >= _TOOTH_LIGHTNESS) & (saturation <= _TOOTH_SATURATION)
    return scene.parts(fill_outline, INNER_LIPS) * bright


def _person(scene: Scene) -> Pixels:
    """What stands in front and has a face, and the face itself; without any face, what stands in front."""
    if not scene.faces:
        return scene.salient
    face = _face(scene)
    bodies = _touched((scene.salient >= 128) | (face > 0), face > 0)
    around = cv2.dilate(bodies.astype(np.uint8), np.ones((5, 5), np.uint8))  # with the soft edge
    return np.maximum(scene.salient * around, face)


def _touched(area: Flags, seed: Flags) -> Flags:
    """Return those of an area's connected parts that the seed touches."""
    parts = cv2.connectedComponents(area.astype(np.uint8))[1]
    return np.isin(parts, np.unique(parts[seed & area]))


def _hair(scene: Scene) -> Pixels:
    mask = np.zeros_like(_face(scene))
    for face in scene.faces:
        region = Region.around(face.box, int(1.3 * face.size), scene.picture)
        region.view(mask)[:] |= _hair_of(face, scene, region)
    return mask


def _hair_of(face: Face, scene: Scene, region: Region) -> Pixels:
    """Return the hair of a face in a region, by GrabCut from what is likely: hair above the face, and no hair on it."""
    scale = min(1.0, _HAIR_SIDE / max(region.shape))
    full = region.view(scene.picture), region.view(scene.salient), fill_hull(face.vertices, region)
    patch, front, inside = (resized(part, scale) for part in full)
    forehead, chin = region.points(face.vertices[[_FOREHEAD, _CHIN]]) * scale
    up, length = forehead - chin, np.linalg.norm(forehead - chin)
    height = (np.dstack(np.meshgrid(*map(np.arange, inside.shape[::-1]))) - chin) @ up / length
    beside = cv2.distanceTransform((inside <= 127).astype(np.uint8), cv2.DIST_L2, 3)
    near = (height > 0.85 * length) & (beside > 0.04 * length) & (beside < 0.25 * length)
    likely = near & (front >= 200)
    depth = cv2.distanceTransform((inside > 127).astype(np.uint8), cv2.DIST_L2, 3)
    guess = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    guess[(depth > 0.25 * depth.max()) | (front < 26)] = cv2.GC_BGD
    if likely.any():
        cv2.setRNGSeed(1)  # GrabCut begins with a clustering by chance
        cv2.grabCut(patch, guess, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    found = _touched((guess == cv2.GC_PR_FGD) & (front >= 128), likely)
    soft = cv2.resize(found * np.uint8(255), region.shape[::-1])
    return (soft > 127) * np.uint8(255)


# The words that are known, and what finds each
WORDS: Final[dict[str, Callable[[Scene], Pixels]]] = {
    "face": _face,
    "eyes": lambda scene: scene.parts(fill_outline, RIGHT_EYE, LEFT_EYE),
    "brows": lambda scene: scene.parts(fill_hull, RIGHT_BROW, LEFT_BROW),
    "lips": lambda scene: scene.parts(fill_outline, OUTER_LIPS) & ~scene.parts(fill_outline, INNER_LIPS),
    "teeth": _teeth,
    "hair": _hair,
    "person": _person,
    "background": lambda scene: 255 - scene.salient,
}


def segment(data: bytes, prompt: str, negative_prompt: str = "", factor: int = 0) -> tuple[bytes, list[str]]:
    """Return a PNG that is transparent where nothing is named, and notes on what was done otherwise than requested.

    Both prompts are words with commas between. The mask grows by ``factor`` pixels, or shrinks.
    """
    scene = Scene(decode(data, FIELD, LIMIT))
    wanted, unwanted = _words(prompt), _words(negative_prompt)
    nothing = np.zeros(scene.picture.shape[:2], np.uint8)
    mask = np.maximum.reduce([nothing, *(WORDS[word](scene) if word in WORDS else scene.salient for word in wanted)])
    if not mask.any():
        raise TaskFailure(f"nothing found in the image ({FIELD}) for the prompt {prompt[:100]!r}")
    taken_away = np.maximum.reduce([nothing, *(WORDS[word](scene) for word in unwanted if word in WORDS)])
    mask = _grown(np.minimum(mask, 255 - taken_away), factor)
    return encode(cut_out(scene.picture, mask), MARK), _notes(scene, wanted, unwanted, mask)


def _words(prompt: str) -> list[str]:
    words = (word.strip().lower() for word in prompt.split(","))
    return [word for word in words if word]


def _grown(mask: Pixels, pixels: int) -> Pixels:
    """Return a mask whose border is moved outward by so many pixels, or inward; 0 leaves its soft edges as they are."""
    if not pixels:
        return mask
    inside = (mask >= 128).astype(np.uint8)
    distance = cv2.distanceTransform(1 - inside if pixels > 0 else inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    reach = min(abs(pixels), 2 * LIMIT)
    return (distance <= reach if pixels > 0 else distance > reach) * np.uint8(255)


def _notes(scene: Scene, wanted: list[str], unwanted: list[str], mask: Pixels) -> list[str]:
    known = f"known are {', '.join(WORDS)}"
    notes = [f"{word!r} is not known: the salient object was taken; {known}" for word in wanted if word not in WORDS]
    notes += [f"{word!r} is not known: nothing was left out for it; {known}" for word in unwanted if word not in WORDS]
    if "person" in wanted and not scene.faces:
        notes.append("there is no face: the salient object was taken for the person")
    if not mask.any():
        notes.append("nothing is left after negative_prompt and segment_factor: the picture is empty")
    return notes
