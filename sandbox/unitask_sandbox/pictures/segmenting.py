"""Cutting out of a picture what a text names.

For a word that is not known (``scene.WORDS``) the salient object is taken, and the notes of the result say so. The
sample of the provider's page, "clothes,shoes", thus gives a picture, as it does there.
"""

from typing import Final

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Pixels, as_pixels
from unitask_sandbox.faces.pictures import decode, encode
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.pictures.matting import cut_out
from unitask_sandbox.pictures.scene import WORDS, Scene, united

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
    """Return a PNG that is transparent where nothing is named, and notes on what was done in another way than asked.

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
