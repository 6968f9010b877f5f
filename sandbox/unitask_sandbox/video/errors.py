"""What can be wrong with the video of a task.

    ValueError
    └── VideoError            .field is the task's name for the video
        ├── UnreadableVideo   "failed to get valid video": not an MP4, damaged, or without pictures
        ├── VideoTooLarge     "video resolution ... is too large": refused from its header
        ├── FrameCount        too many frames, or too few: refused before one is decoded
        └── NoFaceInVideo     "no face found": no frame shows the face that is asked for

The quoted words are the provider's own (public clients, 2025): callers match on them. What the provider says of too
many frames is in no source.
"""


class VideoError(ValueError):
    """The video of the task cannot be used."""

    def __init__(self, field: str, *details: object) -> None:
        super().__init__(field, *details)
        self.field = field


class UnreadableVideo(VideoError):
    """The bytes are not a whole MP4 with pictures; ``reason`` is FFmpeg's."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"failed to get valid video ({self.field}): {self.reason}"


class VideoTooLarge(VideoError):
    """Width and height, in pixels, do not fit into the two limits, either way around."""

    def __init__(self, field: str, width: int, height: int, limits: tuple[int, int]) -> None:
        super().__init__(field, width, height, limits)
        self.width = width
        self.height = height
        self.limits = limits

    def __str__(self) -> str:
        low, high = sorted(self.limits)
        return f"video resolution {self.width}x{self.height} is too large (max {low}x{high}) ({self.field})"


class FrameCount(VideoError):
    """The video has fewer frames than ``least``, or more than ``most``; no frame was decoded."""

    def __init__(self, field: str, frames: int, least: int, most: int) -> None:
        super().__init__(field, frames, least, most)
        self.frames = frames
        self.least = least
        self.most = most

    def __str__(self) -> str:
        found = f"more than {self.most}" if self.frames > self.most else str(self.frames)
        return f"the video has {found} frames ({self.field}): give one of {self.least} to {self.most}"


class NoFaceInVideo(VideoError):
    """No frame shows a face, or as many faces as a number needs: faces are numbered from 0."""

    def __init__(self, field: str, number: int | None = None) -> None:
        super().__init__(field, number)
        self.number = number

    def __str__(self) -> str:
        numbered = "" if self.number is None else f" with the index {self.number}, numbered from 0 in any one frame"
        return f"no face found in the video ({self.field}){numbered}"
