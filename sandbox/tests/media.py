"""Pictures, films and sounds for the tests, made of the two portraits that come with the sandbox, and their readers."""

import io
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray
from PIL import Image
from unitask_sandbox import samples

ASTRONAUT = samples.ASTRONAUT.read_bytes()
HOPPER = samples.GRACE_HOPPER.read_bytes()
SECOND = 12_288  # units of time in the clips
RATE = 12  # frames a second
EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.BICUBIC

Picture = NDArray[np.uint8]
File = tuple[bytes, str]


def pixels(data: bytes) -> Picture:
    """A decoded picture, with its alpha if it has one."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


def png(picture: Any, kind: str = ".png", *options: int) -> bytes:
    return cv2.imencode(kind, picture, options)[1].tobytes()


def resized(picture: Any, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def portrait(data: bytes = ASTRONAUT, middle: tuple[float, float] = (223, 118), side: int = 256) -> Picture:
    """A square around the face of a portrait."""
    return np.asarray(cv2.getRectSubPix(pixels(data), (side, side), middle), np.uint8)


def moving(picture: Picture, frames: int) -> list[Picture]:
    """The picture over time: it grows by a quarter, and tilts by ten degrees to both sides."""
    height, width = picture.shape[:2]
    shown: list[Picture] = []
    for time in np.linspace(0, 1, frames).tolist():
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 10 * np.sin(2 * np.pi * time), 1 + time / 4)
        turned = cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
        shown.append(np.asarray(turned, np.uint8))
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
        packets: list[Any] = []
        for picture, time in zip(pictures, times, strict=False):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=colours, interpolation=EXACT)
            frame.pts, frame.time_base = time, Fraction(1, SECOND)
            packets += stream.encode(frame)
        for packet in [*packets, *stream.encode(None)]:
            packet.duration = ends[packet.pts] - packet.pts
            made.mux(packet)
        times_of_sound = np.arange(int(44_100 * len(pictures) / RATE)) / 44_100
        for hertz, track in zip((440, 660), tracks, strict=True):
            wave = (0.3 * np.sin(2 * np.pi * hertz * times_of_sound)).astype(np.float32)
            sound = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            sound.sample_rate = 44_100
            made.mux([*track.encode(sound), *track.encode(None)])
    return target.getvalue()


def watched(data: bytes) -> Any:
    """The content of an MP4 file."""
    pictures: list[Picture] = []
    times: list[tuple[Fraction, Fraction]] = []  # when each frame is shown and for how long, in seconds
    sound: list[tuple[int, Fraction, bytes]] = []  # the packets: track, time in seconds, bytes
    with av.open(io.BytesIO(data), "r", format="mp4") as source:
        stream: Any = source.streams.video[0]
        packet: Any
        for packet in source.demux(*source.streams.video, *source.streams.audio):
            if packet.stream.type == "video":
                for frame in packet.decode():
                    pictures.append(frame.to_ndarray(format="bgr24", interpolation=EXACT))
                    times.append((frame.pts * frame.time_base, frame.duration * frame.time_base))
            elif packet.size:
                sound.append((packet.stream.index, packet.pts * packet.time_base, bytes(packet)))
        return SimpleNamespace(
            pictures=pictures,
            times=times,
            sound=sound,
            facts=(source.duration, stream.average_rate, stream.codec_context.name, stream.codec_context.colorspace),
            comment=source.metadata.get("comment", ""),
        )


def recorded(samples: Any, kind: str = "wav", codec: str = "pcm_s16le", rate: int = 24_000) -> bytes:
    """A recording of one channel, of samples from -1 to 1."""
    target = io.BytesIO()
    with av.open(target, "w", format=kind) as made:
        stream: Any = made.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype("<i2")[None], format="s16", layout="mono")
        frame.sample_rate = rate
        made.mux([*stream.encode(frame), *stream.encode(None)])
    return target.getvalue()


def files_of(value: Any) -> Iterator[File]:
    """Every file of an output."""
    if isinstance(value, tuple):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from files_of(part)


def size_of(file: File) -> tuple[int, int] | None:
    """Width and height of a picture or of the frames of a film; None for other files."""
    data, extension = file
    if extension == "mp4":
        with av.open(io.BytesIO(data)) as film:
            return film.streams.video[0].width, film.streams.video[0].height
    return Image.open(io.BytesIO(data)).size if extension in ("png", "jpg", "jpeg", "webp") else None


def has_sound(film: bytes) -> bool:
    """Return whether a film has a track of sound that is not silent."""
    with av.open(io.BytesIO(film)) as opened:
        return bool(opened.streams.audio) and max(np.abs(f.to_ndarray()).max() for f in opened.decode(audio=0)) > 0.05


def seconds_of(file: File) -> float:
    """The length of a film or a sound."""
    with av.open(io.BytesIO(file[0])) as opened:
        return float((opened.duration or 0) / av.time_base)
