"""Pictures that say SIMULATED: a pattern, or a dimmed picture of the input, with what was asked for written over it.

The pattern follows from the seed alone. The mark also stands in the metadata of each file.
"""

from __future__ import annotations

import random
import textwrap
import unicodedata
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from unitask_sandbox.engines.simulated.requested_media import Size
from unitask_sandbox.faces.arrays import Pixels, as_pixels
from unitask_sandbox.faces.headers import picture_size
from unitask_sandbox.faces.pictures import decoded, encode

LARGEST_DECODED = 2048  # pixels a side; of a larger one the size alone is taken

_FONT = cv2.FONT_HERSHEY_DUPLEX
_WHITE, _PALE, _INK = (255, 255, 255), (205, 205, 205), (24, 20, 18)
_DISCS = 40


@dataclass(frozen=True, slots=True)
class Scene:
    """What a file shows."""

    seed: int  # decides colours and pattern
    title: str  # model and task type
    prompt: str  # what was asked for, in words
    mark: str  # what the metadata says
    # A picture of the input to show instead of the pattern
    backdrop: Pixels | None = field(default=None, compare=False)

    def another(self, index: int) -> Scene:
        """The scene of the result of this index: another pattern for each, the first as it is."""
        return replace(self, seed=self.seed + index)


def picture(scene: Scene, size: Size, extension: str) -> bytes:
    """A picture as a file: PNG, JPEG or WebP by its extension."""
    return encode(drawn(scene, size), scene.mark, extension)


def grid(scene: Scene, size: Size, extension: str) -> bytes:
    """Four pictures in one, as Midjourney makes them."""
    width, height = size[0] // 2, size[1] // 2
    four = [drawn(scene.another(index), (width, height)) for index in range(4)]
    rows = [np.hstack(four[:2]), np.hstack(four[2:])]
    return encode(as_pixels(np.vstack(rows)), scene.mark, extension)


def drawn(scene: Scene, size: Size) -> Pixels:
    """The picture as BGR pixels."""
    canvas = _pattern(scene.seed, size) if scene.backdrop is None else _dimmed(scene.backdrop, size)
    _write(canvas, scene)
    return canvas


def input_picture(data: bytes) -> tuple[Size, Pixels | None]:
    """Return the size of an encoded picture, and the picture itself unless it is very large."""
    size = picture_size(data)
    if size is None:
        raise ValueError("it is no PNG, JPEG or WebP")
    if max(size) > LARGEST_DECODED:
        return size, None
    picture = decoded(data)
    if picture is None:
        raise ValueError("it is damaged")
    return (picture.shape[1], picture.shape[0]), picture


def _pattern(seed: int, size: Size) -> Pixels:
    """Return discs in colours that belong together; the same seed gives the same ones at every size."""
    draw = random.Random(seed)  # noqa: S311 - the same seed draws the same picture
    hue, (width, height) = draw.randrange(180), size
    tones = [(hue, 140, 70), (hue, 150, 110), (hue + 12, 140, 150), (hue + 90, 120, 170), (hue, 60, 215)]
    shades = np.array([[(tone % 180, saturation, value) for tone, saturation, value in tones]], np.uint8)
    colours: list[list[int]] = cv2.cvtColor(shades, cv2.COLOR_HSV2BGR)[0].tolist()
    canvas = np.full((height, width, 3), colours[0], np.uint8)
    for _ in range(_DISCS):
        middle = round(draw.random() * width), round(draw.random() * height)
        radius = max(1, round(max(size) * draw.uniform(0.03, 0.15)))
        cv2.circle(canvas, middle, radius, draw.choice(colours), cv2.FILLED, cv2.LINE_AA)
    return canvas


def _dimmed(backdrop: Pixels, size: Size) -> Pixels:
    """A picture cut to a shape from its middle, half as bright, and in fewer colours, which are encoded faster."""
    width, height = size
    scale = max(width / backdrop.shape[1], height / backdrop.shape[0])
    across, down = min(backdrop.shape[1], round(width / scale)), min(backdrop.shape[0], round(height / scale))
    left, top = (backdrop.shape[1] - across) // 2, (backdrop.shape[0] - down) // 2
    cut = backdrop[top : top + max(1, down), left : left + max(1, across)]
    small = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
    return as_pixels(np.bitwise_and(as_pixels(small) // 2, 0xF8))


def _write(canvas: Pixels, scene: Scene) -> None:
    height, width = canvas.shape[:2]
    margin = max(2, min(width, height) // 24)
    room = width - 2 * margin
    scale = _scale("SIMULATED", room, height * 0.14)
    line = max(1, round(scale * 30))
    small = max(min(width, height) / 800, 0.35)
    step = round(small * 38)
    lines = _lines(scene, room, small) if min(width, height) >= 96 else []
    top = max(0, height - (2 * margin + line + step * len(lines)))
    canvas[top:] = canvas[top:] // 6 + np.array(_INK, np.uint8)
    base = top + margin + line
    cv2.putText(canvas, "SIMULATED", (margin, base - line // 6), _FONT, scale, _WHITE, _thick(scale), cv2.LINE_AA)
    for number, text in enumerate(lines):
        at = margin, base + step * (number + 1) - step // 4
        cv2.putText(canvas, text, at, _FONT, small, _PALE, _thick(small), cv2.LINE_AA)


def _lines(scene: Scene, room: int, scale: float) -> list[str]:
    """The title in one line and the prompt in at most two, each as long as fits."""
    letters = max(8, int(room / (cv2.getTextSize("n" * 20, _FONT, scale, 1)[0][0] / 20)))
    title = _drawable(scene.title[:200])
    prompt = textwrap.wrap(_drawable(scene.prompt[:400]), letters, max_lines=2, placeholder=" ...")
    return [title if len(title) <= letters else f"{title[: letters - 3]}...", *prompt]


def _drawable(text: str) -> str:
    """The text in the letters that OpenCV's font has; others are left out."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return " ".join("".join(letter if letter.isprintable() else " " for letter in plain).split())


def _scale(text: str, width: float, height: float) -> float:
    (across, down), _ = cv2.getTextSize(text, _FONT, 1, 1)
    return min(width / across, height / down)


def _thick(scale: float) -> int:
    return max(1, round(scale * 1.6))
