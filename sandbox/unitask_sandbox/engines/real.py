"""The task types that are really done here, on the CPU.

The task's `meta` names the method, and in "notes" what was done in another way than requested. Removing a video's
background is simulated: no page describes its result (MP4 has no transparency).
"""

from collections.abc import Mapping
from typing import Any

from unitask_sandbox import speech
from unitask_sandbox.engines.registry import EngineResult, engine
from unitask_sandbox.faces.swap import swap_largest, swap_numbered
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.pictures.matting import remove_background
from unitask_sandbox.pictures.segmenting import segment
from unitask_sandbox.pictures.upscaling import enlarge
from unitask_sandbox.video.clip import enlarged, read_clip
from unitask_sandbox.video.swap import swap_in_video

PICTURES, VIDEOS = "Qubico/image-toolkit", "Qubico/video-toolkit"
DEFAULT_SCALE = 2  # of the official MCP server, 2025; whole numbers may come as 2.0, which JSON Schema calls an integer
SWAP_FRAMES = 1, 600  # piapi.ai, "Video Faceswap", 2025
UPSCALE_FRAMES = 10, 240  # piapi.ai, product page of the video upscaler, 2025
LONGEST_SPOKEN = 4096  # characters: some minutes of speech
UPSCALE_PRICE = "SIMULATED: by the pixels of the given picture; no page says whether those or the new ones are paid for"
SPEECH_MARK = "synthetic: speech made by the unitask sandbox"
SPEECH_META = {"voice_cloned": False, "voice": "hibari-tts, heart; pitch pulled towards ref_audio"}


@engine(PICTURES, "face-swap")
def face_swap(given: Mapping[str, Any]) -> EngineResult:
    """Put the largest face of swap_image onto the largest face of target_image."""
    return EngineResult({"image_url": (swap_largest(given["target_image"], given["swap_image"]), "png")})


@engine(PICTURES, "multi-face-swap")
def multi_face_swap(given: Mapping[str, Any]) -> EngineResult:
    """Put faces of swap_image onto faces of target_image, as swap_faces_index and target_faces_index pair them."""
    indexes = given.get("swap_faces_index", ""), given.get("target_faces_index", "")
    return EngineResult({"image_url": (swap_numbered(given["target_image"], given["swap_image"], *indexes), "png")})


@engine(PICTURES, "upscale")
def upscale(given: Mapping[str, Any]) -> EngineResult:
    """Enlarge image by scale."""
    picture, method = enlarge(given["image"], int(given.get("scale", DEFAULT_SCALE)))
    made = _picture(picture, method, ["face_enhance is not done here"] if given.get("face_enhance") else [])
    return EngineResult(made.output, {**made.meta, "price": UPSCALE_PRICE})


@engine(PICTURES, "background-remove")
def background_remove(given: Mapping[str, Any]) -> EngineResult:
    """Make the background of image transparent."""
    wanted = given.get("rmbg_model")
    notes = [f"rmbg_model {wanted[:40]!r} is not here: u2netp was taken"] if wanted else []
    return _picture(remove_background(given["image"]), "u2netp, guided filter", notes)


@engine(PICTURES, "segment")
def cut_out(given: Mapping[str, Any]) -> EngineResult:
    """Cut out of image what prompt names and negative_prompt does not."""
    named = given["prompt"], given.get("negative_prompt", ""), int(given.get("segment_factor", 0))
    picture, notes = segment(given["image"], *named)
    return _picture(picture, "face mesh, u2netp", notes)


def _picture(picture: bytes, method: str, notes: list[str]) -> EngineResult:
    return EngineResult({"image_url": (picture, "png")}, {"method": method, **({"notes": notes} if notes else {})})


@engine(VIDEOS, "face-swap", most_seconds=900.0)
def video_face_swap(given: Mapping[str, Any]) -> EngineResult:
    """Put faces of swap_image onto faces of target_video."""
    clip = read_clip(given["target_video"], "target_video", *SWAP_FRAMES)
    indexes = given.get("swap_faces_index", ""), given.get("target_faces_index", "")
    video, swapped = swap_in_video(clip, given["swap_image"], *indexes)
    return EngineResult({"video_url": (video, "mp4")}, {"frames": clip.frames, "frames_swapped": swapped})


@engine(VIDEOS, "upscale", most_seconds=900.0)
def video_upscale(given: Mapping[str, Any]) -> EngineResult:
    """Make a video twice as large."""
    clip = read_clip(given["video"], "video", *UPSCALE_FRAMES)
    meta = {"frames": clip.frames, "method": "Lanczos and sharpening"}
    return EngineResult({"video_url": (enlarged(clip), "mp4")}, meta)


def spoken(given: Mapping[str, Any]) -> EngineResult:
    """Read input in the voice as it is: for requests without a task."""
    if len(text := given["input"]) > LONGEST_SPOKEN:
        raise TaskFailure(f"the sandbox's voice reads at most {LONGEST_SPOKEN} characters")
    return EngineResult({"audio": (speech.encode_audio(speech.speak(text), speech.RATE, "mp3", SPEECH_MARK), "mp3")})


@engine("Qubico/tts", "zero-shot", most_seconds=300.0)
def zero_shot(given: Mapping[str, Any]) -> EngineResult:
    """Read gen_text in one English voice that is pulled towards ref_audio."""
    samples = speech.speak(given["gen_text"], speech.read_recording(given["ref_audio"], "ref_audio"))
    sound = speech.encode_audio(samples, speech.RATE, "wav", SPEECH_MARK)
    return EngineResult({"audio_url": (sound, "wav")}, SPEECH_META)
