"""A film that says SIMULATED: a still picture with the time and a bar that moves, silent; encoded by PyAV."""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import av
import cv2
from av.video.frame import VideoFrame

from unitask_sandbox.engines.simulated.pictures import Scene, drawn
from unitask_sandbox.engines.simulated.requested_media import Size
from unitask_sandbox.faces.arrays import Pixels

FRAMES_A_SECOND = 4
MOST_FRAMES = 40  # a longer film has fewer a second

_TICK: Final = Fraction(1, 1000)  # seconds
_ENCODER: Final = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"}
_BAR = (60, 60, 230)
_SMALLEST_WITH_TIME = 96  # pixels a side


def film(scene: Scene, size: Size, seconds: float) -> bytes:
    """Return an MP4 (H.264) of an even size, exact to the millisecond; the same arguments give the same bytes."""
    count = min(MOST_FRAMES, max(2, round(seconds * FRAMES_A_SECOND)))
    starts = [round(seconds * number / count / _TICK) for number in range(count + 1)]
    target = io.BytesIO()
    file: Any = av.open(target, "w", format="mp4", options={"fflags": "+bitexact"})  # without FFmpeg's version
    with file:
        file.metadata["comment"] = scene.mark
        stream = file.add_stream("libx264", rate=FRAMES_A_SECOND, options=_ENCODER)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _TICK
        stream.codec_context.thread_count = 1  # the bytes must not depend on the number of cores
        for number, pixels in enumerate(_frames(scene, size, seconds, count)):
            frame = VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts, frame.time_base = starts[number], _TICK
            for packet in stream.encode(frame):  # one for each frame: zerolatency holds none back
                packet.duration = starts[number + 1] - starts[number]
                file.mux(packet)
    return target.getvalue()


def _frames(scene: Scene, size: Size, seconds: float, count: int) -> Iterator[Pixels]:
    still = drawn(scene, size)
    bar = max(2, min(size) // 30)
    for number in range(count):
        frame = still.copy()
        cv2.rectangle(frame, (0, 0), (size[0] * (number + 1) // count, bar), _BAR, cv2.FILLED)
        if min(size) >= _SMALLEST_WITH_TIME:
            text = f"{seconds * number / count:.1f} / {seconds:g} s"
            cv2.rectangle(frame, (0, bar + 1), (8 + 8 * len(text), bar + 18), (0, 0, 0), cv2.FILLED)
            cv2.putText(frame, text, (4, bar + 14), cv2.FONT_HERSHEY_DUPLEX, 0.4, (235, 235, 235), 1, cv2.LINE_AA)
        yield frame
