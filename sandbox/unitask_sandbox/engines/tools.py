"""The picture tools, done on the CPU: enlarge, remove the background, cut out what a word names.

The task's `meta` names the method, and in "notes" what was done in another way than asked.
"""

from collections.abc import Mapping
from typing import Any

from unitask_sandbox.engines.registry import EngineResult, engine

MODEL = "Qubico/image-toolkit"
DEFAULT_SCALE = 2  # of the official MCP server, 2025; whole numbers may come as 2.0, which JSON Schema calls an integer


@engine(MODEL, "upscale")
def upscale(given: Mapping[str, Any]) -> EngineResult:
    """Enlarge image by scale."""
    from unitask_sandbox.pictures.upscaling import enlarge  # lazy: OpenCV, which only the worker needs

    picture, method = enlarge(given["image"], int(given.get("scale", DEFAULT_SCALE)))
    return _result(picture, method, ["face_enhance is not done here"] if given.get("face_enhance") else [])


@engine(MODEL, "background-remove")
def background_remove(given: Mapping[str, Any]) -> EngineResult:
    """Make the background of image transparent."""
    from unitask_sandbox.pictures.matting import remove_background

    wanted = given.get("rmbg_model")
    notes = [f"rmbg_model {wanted[:40]!r} is not here: u2netp was taken"] if wanted else []
    return _result(remove_background(given["image"]), "u2netp, guided filter", notes)


@engine(MODEL, "segment")
def segment(given: Mapping[str, Any]) -> EngineResult:
    """Cut out of image what prompt names and negative_prompt does not."""
    from unitask_sandbox.pictures import segmenting

    named = given["prompt"], given.get("negative_prompt", ""), int(given.get("segment_factor", 0))
    picture, notes = segmenting.segment(given["image"], *named)
    return _result(picture, "face mesh, u2netp", notes)


def _result(picture: bytes, method: str, notes: list[str]) -> EngineResult:
    return EngineResult({"image_url": (picture, "png")}, {"method": method, **({"notes": notes} if notes else {})})
