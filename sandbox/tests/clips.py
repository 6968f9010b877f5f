"""Videos for the tests, made of the two portraits that come with the sandbox: they zoom and turn, with a tone."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation

from .portraits import ASTRONAUT, Picture, pixels

SECOND = 12_288  # units of time in the clips
RATE = 12  # frames a second
EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.BICUBIC


def portrait(data: bytes = ASTRONAUT, middle: tuple[float, float] = (223, 118), side: int = 256) -> Picture:
    """A square around the face of a portrait."""
    return np.asarray(cv2.getRectSubPix(pixels(data), (side, side), middle), np.uint8)


def moving(picture: Picture, frames: int) -> list[Picture]:
    """The picture over time: it comes nearer by a quarter, and tilts by ten degrees to both sides."""
    height, width = picture.shape[:2]
    shown: list[Picture] = []
    for time in np.linspace(0, 1, frames).tolist():
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 10 * np.sin(2 * np.pi * time), 1 + time / 4)
        shown.append(
            np.asarray(cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)
        )
    return shown


def clip(
    pictures: Sequence[Picture],
    times: Sequence[int] | None = None,
    shape: Callable[[Any], object] = lambda _stream: None,
    colours: int = 2,
) -> bytes:
    """An MP4 of the pictures with two tracks of sound; `times` (of `SECOND`) are when each is shown, and the end."""
    times = times or range(0, (len(pictures) + 1) * SECOND // RATE, SECOND // RATE)
    ends = dict(pairwise(times))
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as made:
        stream: Any = made.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "12"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.codec_context.time_base = Fraction(1, SECOND)
        stream.codec_context.colorspace = colours
        shape(stream)
        tracks: list[Any] = [made.add_stream("aac", rate=44_100, layout="mono") for _ in range(2)]
        for picture, time in zip(pictures, times, strict=False):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=colours, interpolation=EXACT)
            frame.pts, frame.time_base = time, Fraction(1, SECOND)
            _mux(made, stream.encode(frame), ends)
        _mux(made, stream.encode(None), ends)
        for hertz, track in zip((440, 660), tracks, strict=True):
            made.mux(track.encode(_tone(hertz, len(pictures) / RATE)))
            made.mux(track.encode(None))
    return target.getvalue()


def _mux(made: Any, packets: Any, ends: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = ends[packet.pts] - packet.pts
        made.mux(packet)


def _tone(hertz: float, seconds: float) -> Any:
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(44_100 * seconds)) / 44_100)
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate = 44_100
    return frame


@dataclass(frozen=True)
class Watched:
    """What is in an MP4 file."""

    pictures: list[Picture]
    times: list[tuple[Fraction, Fraction]]  # when each frame is shown and for how long, in seconds
    sound: list[tuple[int, Fraction, bytes]]  # the packets: track, time in seconds, bytes
    seconds: float
    rate: Fraction
    codec: str
    colours: int
    comment: str


def watched(data: bytes) -> Watched:
    with av.open(io.BytesIO(data), "r", format="mp4") as source:
        stream: Any = source.streams.video[0]
        pictures: list[Picture] = []
        times: list[tuple[Fraction, Fraction]] = []
        sound: list[tuple[int, Fraction, bytes]] = []
        for packet in source.demux(*source.streams.video, *source.streams.audio):
            anything: Any = packet
            if packet.stream.type == "audio":
                track = packet.stream.index
                sound += [(track, anything.pts * anything.time_base, bytes(anything))] if packet.size else []
                continue
            for frame in anything.decode():
                pictures.append(frame.to_ndarray(format="bgr24", interpolation=EXACT))
                times.append((frame.pts * frame.time_base, frame.duration * frame.time_base))
        return Watched(
            pictures,
            times,
            sound,
            seconds=(source.duration or 0) / av.time_base,
            rate=stream.average_rate,
            codec=stream.codec_context.name,
            colours=stream.codec_context.colorspace,
            comment=source.metadata.get("comment", ""),
        )


def packed(samples: Any, kind: str, codec: str, rate: int = 24_000) -> bytes:
    """A recording of one channel, of samples from -1 to 1."""
    target = io.BytesIO()
    with av.open(target, "w", format=kind) as made:
        stream: Any = made.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype("<i2")[None], format="s16", layout="mono")
        frame.sample_rate = rate
        made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return target.getvalue()
