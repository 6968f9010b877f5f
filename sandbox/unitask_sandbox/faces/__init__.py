"""Face swap on the CPU: the sandbox's real engine for the face-swap tasks.

``swap_largest`` and ``swap_numbered`` are whole tasks, bytes in and bytes out. The lower pieces (``find_faces``,
``SourceFace``, ``swap_face``) work on BGR arrays, for engines that look for faces or swap the frames of a video.

Importing this package is cheap: OpenCV (0.2 s) is imported when a name that needs it is first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from unitask_sandbox.faces.errors import (
    FaceIndexError,
    NoFaceFound,
    NoSuchFace,
    PictureError,
    PictureTooLarge,
    Role,
    UnreadablePicture,
)

if TYPE_CHECKING:
    from unitask_sandbox.faces.detect import Face, find_faces
    from unitask_sandbox.faces.pictures import MAX_SIDE, decode, encode
    from unitask_sandbox.faces.swap import SourceFace, swap_face, swap_largest, swap_numbered, warm_up

__all__ = [
    "MAX_SIDE",
    "Face",
    "FaceIndexError",
    "NoFaceFound",
    "NoSuchFace",
    "PictureError",
    "PictureTooLarge",
    "Role",
    "SourceFace",
    "UnreadablePicture",
    "decode",
    "encode",
    "find_faces",
    "swap_face",
    "swap_largest",
    "swap_numbered",
    "warm_up",
]

_HOME = {
    "Face": "detect",
    "find_faces": "detect",
    "MAX_SIDE": "pictures",
    "decode": "pictures",
    "encode": "pictures",
    "SourceFace": "swap",
    "swap_face": "swap",
    "swap_largest": "swap",
    "swap_numbered": "swap",
    "warm_up": "swap",
}


def __getattr__(name: str) -> object:
    """Import the module that defines a public name the first time the name is used."""
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
