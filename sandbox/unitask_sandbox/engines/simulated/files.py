"""The files of simulated results: a picture, a film, a sound, a 3D model.

Each says SIMULATED in its content (a sound in Morse code) and in its metadata. The same arguments give the same bytes.
"""

import base64
import io
import json
import random
import struct
import textwrap
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, ImageDraw, ImageFont

from unitask_sandbox.audio import encode_audio
from unitask_sandbox.engines.simulated.requested_media import Size
from unitask_sandbox.faces.arrays import as_floats
from unitask_sandbox.faces.pictures import encode

SMALLEST_WITH_CAPTION: Final = 96  # pixels a side

FRAMES_A_SECOND: Final = 4
MOST_FRAMES: Final = 40  # a longer film has fewer a second
_TICK: Final = Fraction(1, 1000)  # seconds
_ENCODER: Final = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"}

UNIT: Final = 0.072  # seconds of a dot
RATE: Final = 8000  # hertz
_MORSE: Final = {"S": "...", "I": "..", "M": "--", "U": "..-", "L": ".-..", "A": ".-", "T": "-", "E": ".", "D": "-.."}
_LOUDNESS: Final = 0.12  # of the loudest
_TONES: Final = (361, 375, 611, 625, 861)  # hertz

_PLAQUE: Final = Path(__file__).with_name("plaque.gltf")  # a box of 1 x 1 x 0.25 m with an empty texture
_TEXTURE: Final = (256, 256)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a file shows."""

    seed: int  # decides the colours
    title: str  # model and task type
    prompt: str
    mark: str  # for the metadata


def picture(scene: Scene, size: Size, extension: str) -> bytes:
    """Return a picture as a PNG, JPEG or WebP file, by its extension."""
    return encode(drawn(scene, size), scene.mark, extension)


def drawn(scene: Scene, size: Size) -> Image.Image:
    """Return a picture of discs with the word, the title and the prompt."""
    draw = random.Random(scene.seed)  # noqa: S311 - the same seed draws the same picture
    hue, (width, height) = draw.randrange(360), size
    image = Image.new("RGB", size, f"hsl({hue}, 45%, 22%)")
    canvas = ImageDraw.Draw(image)
    for lightness in range(24, 36, 2):
        x, y, radius = draw.random() * width, draw.random() * height, max(size) * draw.uniform(0.05, 0.2)
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), f"hsl({hue}, 45%, {lightness}%)")
    canvas.text((width / 2, height / 2), "SIMULATED", "white", _font(int(min(width / 7, height / 3))), "mm")
    if min(size) >= SMALLEST_WITH_CAPTION:
        small = max(8, min(size) // 28)
        letters = max(8, width // small * 3 // 2)
        lines = [scene.title[:letters], *textwrap.wrap(scene.prompt[:400], letters, max_lines=2, placeholder=" ...")]
        canvas.multiline_text((width / 2, height * 0.68), "\n".join(lines), "lightgrey", _font(small), "ma")
    return image


@lru_cache(16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(size, 1))


def film(scene: Scene, size: Size, seconds: float) -> bytes:
    """Return a silent MP4 (H.264) of an even size, exact to the millisecond: a picture, and a bar that grows."""
    count = min(MOST_FRAMES, max(2, round(seconds * FRAMES_A_SECOND)))
    starts = [round(seconds * number / count / _TICK) for number in range(count + 1)]
    still = drawn(scene, size)
    target = io.BytesIO()
    file: Any = av.open(target, "w", format="mp4", options={"fflags": "+bitexact"})  # without FFmpeg's version
    with file:
        file.metadata["comment"] = scene.mark
        stream = file.add_stream("libx264", rate=FRAMES_A_SECOND, options=_ENCODER)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _TICK
        stream.codec_context.thread_count = 1  # the bytes must not depend on the number of cores
        for number in range(count):
            bar = (0, 0, size[0] * (number + 1) // count, max(2, min(size) // 30))
            ImageDraw.Draw(still).rectangle(bar, "red")
            frame = VideoFrame.from_ndarray(np.asarray(still), format="rgb24")
            frame.pts, frame.time_base = starts[number], _TICK
            for packet in stream.encode(frame):  # one for each frame: zerolatency holds none back
                packet.duration = starts[number + 1] - starts[number]
                file.mux(packet)
    return target.getvalue()


def sound(seed: int, seconds: float, extension: str, mark: str) -> bytes:
    """Return a sound: the word in Morse code, as a soft tone, repeated to the length."""
    letters = ("0".join({".": "1", "-": "111"}[sign] for sign in _MORSE[letter]) for letter in "SIMULATED")
    units = [unit == "1" for unit in "000".join(letters) + "0000000"]  # a dot is one unit, a dash three
    hard = np.repeat(np.array(units, np.float64), round(UNIT * RATE))
    loudness = np.convolve(hard, np.hanning(80) / np.hanning(80).sum(), "same")  # soft edges do not click
    phase = np.arange(len(loudness)) * (2 * np.pi * _TONES[seed % len(_TONES)] / RATE)
    word = as_floats(np.sin(phase) * loudness * _LOUDNESS)
    return encode_audio(np.resize(word, round(seconds * RATE)), RATE, extension, mark)


def plaque(scene: Scene) -> bytes:
    """Return a binary glTF 2.0 (Khronos, 4.4) of one chunk: the model of plaque.gltf with a picture as its texture."""
    model: dict[str, Any] = json.loads(_PLAQUE.read_bytes())
    model["asset"]["generator"] = scene.mark
    model["images"][0]["uri"] += base64.b64encode(picture(scene, _TEXTURE, "png")).decode()
    text = json.dumps(model, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text
