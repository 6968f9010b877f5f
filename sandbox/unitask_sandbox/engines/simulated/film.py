"""A film that says SIMULATED: a still picture with the time and a bar that moves, silent."""

from __future__ import annotations

from collections.abc import Iterator

import cv2

from unitask_sandbox.engines.simulated.asked import Size
from unitask_sandbox.engines.simulated.h264 import mp4
from unitask_sandbox.engines.simulated.pictures import Scene, drawn
from unitask_sandbox.faces.arrays import Pixels

FRAMES_A_SECOND = 4
MOST_FRAMES = 40  # a longer film has fewer a second

_BAR = (60, 60, 230)
_SMALLEST_WITH_TIME = 96  # pixels a side


def film(scene: Scene, size: Size, seconds: float) -> bytes:
    """An MP4 with frames of this size, both sides even, whose length is right to the millisecond."""
    count = min(MOST_FRAMES, max(2, round(seconds * FRAMES_A_SECOND)))
    return mp4(list(_frames(scene, size, seconds, count)), seconds, scene.mark)


def _frames(scene: Scene, size: Size, seconds: float, count: int) -> Iterator[Pixels]:
    width = size[0]
    still = drawn(scene, size)
    bar = max(2, min(size) // 30)
    for number in range(count):
        frame = still.copy()
        cv2.rectangle(frame, (0, 0), (width * (number + 1) // count, bar), _BAR, cv2.FILLED)
        if min(size) >= _SMALLEST_WITH_TIME:
            text = f"{seconds * number / count:.1f} / {seconds:g} s"
            cv2.rectangle(frame, (0, bar + 1), (8 + 8 * len(text), bar + 18), (0, 0, 0), cv2.FILLED)
            cv2.putText(frame, text, (4, bar + 14), cv2.FONT_HERSHEY_DUPLEX, 0.4, (235, 235, 235), 1, cv2.LINE_AA)
        yield frame
