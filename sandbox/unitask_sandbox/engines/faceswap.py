"""The face-swap family, done for real on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unitask_sandbox.engines.registry import EngineResult, engine
from unitask_sandbox.faces import NoFaceFound, PictureTooLarge, UnreadablePicture
from unitask_sandbox.failures import IMAGE_TOO_LARGE, TaskFailure


@engine("Qubico/image-toolkit", "face-swap")
def face_swap(given: Mapping[str, Any]) -> EngineResult:
    """Put the largest face of swap_image onto the largest face of target_image."""
    from unitask_sandbox.faces import swap_largest  # loads OpenCV, which only the worker needs

    try:
        picture = swap_largest(given["target_image"], given["swap_image"])
    except PictureTooLarge as error:
        raise TaskFailure(str(error), IMAGE_TOO_LARGE) from error
    except (NoFaceFound, UnreadablePicture) as error:
        raise TaskFailure(str(error)) from error
    return EngineResult({"image_url": (picture, "png")})
