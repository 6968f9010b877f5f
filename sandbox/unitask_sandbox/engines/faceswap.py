"""The face-swap tasks, done on the CPU."""

from collections.abc import Mapping
from typing import Any

from unitask_sandbox.engines.registry import EngineResult, engine


@engine("Qubico/image-toolkit", "face-swap")
def face_swap(given: Mapping[str, Any]) -> EngineResult:
    """Put the largest face of swap_image onto the largest face of target_image."""
    from unitask_sandbox.faces.swap import swap_largest  # lazy: OpenCV, which only the worker needs

    return EngineResult({"image_url": (swap_largest(given["target_image"], given["swap_image"]), "png")})


@engine("Qubico/image-toolkit", "multi-face-swap")
def multi_face_swap(given: Mapping[str, Any]) -> EngineResult:
    """Put faces of swap_image onto faces of target_image, as swap_faces_index and target_faces_index pair them."""
    from unitask_sandbox.faces.swap import swap_numbered

    indexes = given.get("swap_faces_index", ""), given.get("target_faces_index", "")
    return EngineResult({"image_url": (swap_numbered(given["target_image"], given["swap_image"], *indexes), "png")})
