"""The files of simulated results: a picture, a film, a sound, a 3D model.

Each says SIMULATED in its metadata, a picture and a film in their content too. The same arguments give the same bytes.
"""

import base64
import io
import json
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from PIL import Image, ImageDraw, ImageFont

from unitask_sandbox.engines.simulated.requested_media import Size
from unitask_sandbox.faces.arrays import Floats, as_floats
from unitask_sandbox.faces.pictures import encode
from unitask_sandbox.speech import encode_audio

FRAMES_A_SECOND: Final = 4
MOST_FRAMES: Final = 40  # a longer film has fewer a second
_TICK: Final = Fraction(1, 1000)  # seconds
_ENCODER: Final = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"}

RATE: Final = 8000  # hertz
_LOUDNESS: Final = 0.12  # of the loudest

_PLAQUE: Final = Path(__file__).with_name("plaque.gltf")  # a box of 1 x 1 x 0.25 m with an empty texture
_TEXTURE: Final = (256, 256)


def picture(seed: int, mark: str, size: Size, extension: str) -> bytes:
    """Return a picture with the word as a PNG, JPEG or WebP file, by its extension; the seed decides the colour."""
    return encode(_drawn(seed, size), mark, extension)


def _drawn(seed: int, size: Size) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, f"hsl({seed % 360}, 45%, 22%)")
    font = ImageFont.load_default(max(1, int(min(width / 7, height / 3))))
    ImageDraw.Draw(image).text((width / 2, height / 2), "SIMULATED", "white", font, "mm")
    return image


def film(seed: int, mark: str, size: Size, seconds: float, *, has_sound: bool = False) -> bytes:
    """Return an MP4 (H.264) of an even size, exact to the millisecond: a picture, and a bar that grows."""
    count = min(MOST_FRAMES, max(2, round(seconds * FRAMES_A_SECOND)))
    starts = [round(seconds * number / count / _TICK) for number in range(count + 1)]
    still = _drawn(seed, size)
    target = io.BytesIO()
    file: Any = av.open(target, "w", format="mp4", options={"fflags": "+bitexact"})  # without FFmpeg's version
    with file:
        file.metadata["comment"] = mark
        stream = file.add_stream("libx264", rate=FRAMES_A_SECOND, options=_ENCODER)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _TICK
        stream.codec_context.thread_count = 1  # the bytes must not depend on the number of cores
        track: Any = file.add_stream("aac", rate=RATE, layout="mono") if has_sound else None
        for number in range(count):
            bar = (0, 0, size[0] * (number + 1) // count, max(2, min(size) // 30))
            ImageDraw.Draw(still).rectangle(bar, "red")
            frame = VideoFrame.from_ndarray(np.asarray(still), format="rgb24")
            frame.pts, frame.time_base = starts[number], _TICK
            for packet in stream.encode(frame):  # one for each frame: zerolatency holds none back
                packet.duration = starts[number + 1] - starts[number]
                file.mux(packet)
        if track:
            _add_sound(file, track, _tone(seed, seconds))
    return target.getvalue()


def _add_sound(file: Any, track: Any, samples: Floats) -> None:
    """Write the sound of a film; the last packet ends with the samples, else the film would be longer."""
    frame = AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = RATE, 0
    for packet in (*track.encode(frame), *track.encode(None)):
        if packet.pts < len(samples):
            packet.duration = min(packet.duration, len(samples) - packet.pts)
            file.mux(packet)


def sound(seed: int, mark: str, seconds: float, extension: str) -> bytes:
    """Return a sound: a soft tone that the seed decides, once a second."""
    return encode_audio(_tone(seed, seconds), RATE, extension, mark)


def _tone(seed: int, seconds: float) -> Floats:
    time = np.arange(round(seconds * RATE)) * (2 * np.pi / RATE)
    loudness = np.maximum(np.sin(time), 0.0) * _LOUDNESS
    return as_floats(np.sin(time * (300 + seed % 601)) * loudness)


def plaque(seed: int, mark: str) -> bytes:
    """Return a binary glTF 2.0 (Khronos, 4.4) of one chunk: the model of plaque.gltf with a picture as its texture."""
    model: dict[str, Any] = json.loads(_PLAQUE.read_bytes())
    model["asset"]["generator"] = mark
    model["images"][0]["uri"] += base64.b64encode(picture(seed, mark, _TEXTURE, "png")).decode()
    text = json.dumps(model, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text
