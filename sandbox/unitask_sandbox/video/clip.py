"""Read a video, change its frames (enlarge them, for one) and write it again, with PyAV (FFmpeg).

Only MP4 is opened: other formats (playlists) can name further files, which FFmpeg would read. Each frame keeps its
time and duration; sound is copied packet by packet.
"""

import io
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any, Final

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from unitask_sandbox.faces.arrays import Pixels
from unitask_sandbox.failures import TaskFailure, unusable

# Pixels that a video may have, either way around; "max 720x1280" is the provider's refusal (a public client, 2025)
SIDES: Final = (1280, 720)

# x264's quality (18 is nearly lossless to the eye), how hard it tries to make the file small, and no B-frames: MP4
# stores durations in the order of decoding, so only without them each frame keeps its own
ENCODER: Final = {"crf": "18", "preset": "veryfast", "bf": "0"}

# How FFmpeg turns a frame into BGR and back; as it does by default, every pixel comes back darker by two or three
EXACT: Final = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)

SCALE: Final = 2  # of an enlarged video
SHARPEN: Final = 0.5  # the share of the detail that is added again
RADIUS: Final = 1.2  # pixels (sigma) of what counts as detail
ENLARGED: Final = "synthetic: enlarged by the unitask sandbox"

Change = Callable[[Pixels], Pixels]  # What is done to each frame: BGR in, BGR out; called in the order of the frames


@dataclass(frozen=True, slots=True)
class Clip:
    """A video within the limits."""

    data: bytes  # the MP4 file
    field: str  # the task's name for it
    width: int  # as it is shown, in pixels; so is the height
    height: int
    frames: int  # how many it has
    rate: Fraction  # frames a second, on average


def read_clip(data: bytes, field: str, least: int, most: int) -> Clip:
    """Return a video with what its header says; its packets are counted, and only its first frame is decoded."""
    with _opened(data, field) as source:
        pictures = source.streams.video[0]
        width, height = pictures.codec_context.width, pictures.codec_context.height
        if max(width, height) > max(SIDES) or min(width, height) > min(SIDES):
            low, high = sorted(SIDES)
            raise TaskFailure(f"video resolution {width}x{height} is too large (max {low}x{high}) ({field})")
        packets = (packet for packet in source.demux(pictures) if packet.size)
        frames = sum(1 for _ in islice(packets, most + 1))
        if not least <= frames <= most:
            found = f"more than {most}" if frames > most else frames
            raise TaskFailure(f"the video has {found} frames ({field}): give one of {least} to {most}")
        source.seek(0)
        first = next(source.decode(pictures), None)
        if first is None:
            raise unusable("video", field, "none of its frames can be decoded")
        if first.rotation % 180:
            width, height = height, width
        return Clip(data, field, width, height, frames, pictures.average_rate or Fraction(25))


def remade(clip: Clip, change: Change, mark: str, scale: int = 1) -> bytes:
    """Return an MP4 (H.264) of the video with every frame changed, and with the sound as it was.

    A frame that is stored turned is turned upright before. ``change`` makes it ``scale`` times larger. An odd side
    loses its last pixel, as H.264 demands.
    """
    target = io.BytesIO()
    output: Any = av.open(target, "w", format="mp4")
    with _opened(clip.data, clip.field) as source, output:
        output.metadata["comment"] = mark
        pictures = _encoder(output, clip, source.streams.video[0], scale)
        sounds = {sound.index: output.add_stream_from_template(sound) for sound in source.streams.audio}
        durations: dict[int | None, int] = {}  # the encoder drops that of the last frame
        for packet in source.demux(source.streams.video[0], *source.streams.audio):
            if packet.stream.index in sounds:
                if packet.dts is not None:  # the last one is empty
                    packet.stream = sounds[packet.stream.index]
                    output.mux(packet)
                continue
            for frame in packet.decode():
                durations[frame.pts] = frame.duration
                _mux(output, pictures.encode(_changed(frame, change, pictures)), durations)
        _mux(output, pictures.encode(None), durations)
    return target.getvalue()


def _mux(output: Any, packets: Any, durations: Mapping[int | None, int]) -> None:
    for packet in packets:
        packet.duration = durations[packet.pts]
        output.mux(packet)


@contextmanager
def _opened(data: bytes, field: str) -> Generator[Any]:
    try:
        with av.open(io.BytesIO(data), "r", format="mp4", metadata_errors="replace") as source:
            if not source.streams.video:
                raise unusable("video", field, "there are no pictures in it")
            yield source
    except FFmpegError as error:
        raise unusable("video", field, f"not a readable MP4 ({error.strerror})") from error


def _encoder(made: Any, clip: Clip, source: Any, scale: int) -> Any:
    stream = made.add_stream("libx264", rate=clip.rate, options=ENCODER)
    stream.width, stream.height = (side * scale // 2 * 2 for side in (clip.width, clip.height))
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = source.time_base
    for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
        setattr(stream.codec_context, name, getattr(source.codec_context, name))
    return stream


def _changed(frame: VideoFrame, change: Change, encoder: Any) -> VideoFrame:
    picture = frame.to_ndarray(format="bgr24", interpolation=EXACT)
    upright = np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))
    changed = change(upright)[: encoder.height, : encoder.width]
    made = VideoFrame.from_ndarray(np.ascontiguousarray(changed), format="bgr24")
    made = made.reformat(
        format="yuv420p", interpolation=EXACT, dst_colorspace=frame.colorspace, dst_color_range=frame.color_range
    )
    made.pts, made.time_base, made.duration = frame.pts, frame.time_base, frame.duration
    return made


def enlarged(clip: Clip) -> bytes:
    """Return an MP4 of twice the width and height: Lanczos resampling, then a little sharpening."""
    return remade(clip, _larger, ENLARGED, SCALE)


def _larger(picture: Pixels) -> Pixels:
    large = cv2.resize(picture, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LANCZOS4)
    soft = cv2.GaussianBlur(large, (0, 0), RADIUS)
    return cv2.addWeighted(large, 1 + SHARPEN, soft, -SHARPEN, 0)
