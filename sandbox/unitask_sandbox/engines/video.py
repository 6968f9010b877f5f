"""The video tools, done on the CPU: the face swap, and the enlargement without a network.

Removing a video's background is simulated: no page says what its result looks like (MP4 has no transparency), and the
network that cuts out pictures would take half a second a frame.
"""

from collections.abc import Mapping
from typing import Any

from unitask_sandbox.engines.registry import EngineResult, Needs, engine

SWAP_FRAMES = 1, 600  # piapi.ai, "Video Faceswap", 2025
UPSCALE_FRAMES = 10, 240  # piapi.ai, product page of the video upscaler, 2025

_NEEDS = Needs(seconds=900.0)


@engine("Qubico/video-toolkit", "face-swap", _NEEDS)
def video_face_swap(given: Mapping[str, Any]) -> EngineResult:
    """Put faces of swap_image onto faces of target_video."""
    from unitask_sandbox.video.clip import read_clip  # lazy: OpenCV and FFmpeg, which only the worker needs
    from unitask_sandbox.video.swap import swap_in_video

    clip = read_clip(given["target_video"], "target_video", *SWAP_FRAMES)
    indexes = given.get("swap_faces_index", ""), given.get("target_faces_index", "")
    video, swapped = swap_in_video(clip, given["swap_image"], *indexes)
    return EngineResult({"video_url": (video, "mp4")}, {"frames": clip.frames, "frames_swapped": swapped})


@engine("Qubico/video-toolkit", "upscale", _NEEDS)
def video_upscale(given: Mapping[str, Any]) -> EngineResult:
    """Make a video twice as large."""
    from unitask_sandbox.video.clip import read_clip
    from unitask_sandbox.video.enlarge import enlarged

    clip = read_clip(given["video"], "video", *UPSCALE_FRAMES)
    return EngineResult(
        {"video_url": (enlarged(clip), "mp4")}, {"frames": clip.frames, "method": "Lanczos and sharpening"}
    )
