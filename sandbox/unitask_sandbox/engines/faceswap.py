"""The face-swap family, done for real on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unitask_sandbox.engines.registry import EngineResult, engine
from unitask_sandbox.engines.wording import told


@engine("Qubico/image-toolkit", "face-swap")
def face_swap(given: Mapping[str, Any]) -> EngineResult:
    """Put the largest face of swap_image onto the largest face of target_image."""
    from unitask_sandbox.faces import swap_largest  # loads OpenCV, which only the worker needs

    with told():
        picture = swap_largest(given["target_image"], given["swap_image"])
    return EngineResult({"image_url": (picture, "png")})


@engine("Qubico/image-toolkit", "multi-face-swap")
def multi_face_swap(given: Mapping[str, Any]) -> EngineResult:
    """Put faces of swap_image onto faces of target_image, as swap_faces_index and target_faces_index pair them."""
    from unitask_sandbox.faces import swap_numbered

    indexes = given.get("swap_faces_index", ""), given.get("target_faces_index", "")
    with told():
        picture = swap_numbered(given["target_image"], given["swap_image"], *indexes)
    return EngineResult({"image_url": (picture, "png")})
