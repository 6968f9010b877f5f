"""Failures of engines, in the provider's words where public clients show them (2025): clients match on the beginnings.

``field`` is the field of the task's input that holds the medium.
"""

from unitask_sandbox.failures import IMAGE_TOO_LARGE, TaskFailure


def unreadable_picture(field: str) -> TaskFailure:
    """Return the failure for bytes that are no whole picture."""
    return TaskFailure(f"failed to get valid image ({field}): not a readable PNG, JPEG or WebP picture")


def picture_too_large(field: str, width: int, height: int, limit: int) -> TaskFailure:
    """Return the failure for a picture with a side of ``limit`` pixels or more."""
    wanted = f"each side must be under {limit} pixels"
    return TaskFailure(f"image size too large ({field}): {width}x{height}, {wanted}", IMAGE_TOO_LARGE)


def no_face(field: str) -> TaskFailure:
    """Return the failure for a picture without a face."""
    return TaskFailure(f"no face found in the image ({field})")


def no_such_face(field: str, number: int, count: int) -> TaskFailure:
    """Return the failure for a face number beyond the ``count`` faces of a picture."""
    words = f"with the index {number}: it shows {count}, numbered from 0"
    return TaskFailure(f"no face found in the image ({field}) {words}")


def no_face_in_video(field: str, number: int | None) -> TaskFailure:
    """Return the failure for a video of which no frame shows a face, or as many as a number needs."""
    numbered = "" if number is None else f" with the index {number}, numbered from 0 in any one frame"
    return TaskFailure(f"no face found in the video ({field}){numbered}")


def unreadable_video(field: str, reason: str) -> TaskFailure:
    """Return the failure for bytes that are no whole MP4 with pictures."""
    return TaskFailure(f"failed to get valid video ({field}): {reason}")


def unreadable_sound(field: str, reason: str) -> TaskFailure:
    """Return the failure for bytes that are no recording."""
    return TaskFailure(f"failed to get valid audio ({field}): {reason}")
