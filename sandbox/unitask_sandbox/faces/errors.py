"""What can be wrong with the pictures of a task, and with the numbers of their faces.

    ValueError
    ├── PictureError            .role says which picture
    │   ├── UnreadablePicture   "failed to get valid image": not a picture, or of a kind not taken
    │   ├── PictureTooLarge     "image size too large": refused from its header, before its pixels are decoded
    │   └── NoFaceFound         "no face found in the image"
    │       └── NoSuchFace      "no face found in the image": it has faces, but none of that number
    └── FaceIndexError          a list of face numbers that cannot be read, or does not fit the other one

The quoted beginnings are the provider's own failure messages: callers match on them. The message is built
from the constructor's arguments, so that an error pickled on its way out of a worker process keeps it.
"""

from typing import Literal

Role = Literal["target_image", "swap_image"]
"""A face swap's name for a picture: ``target_image`` is changed, ``swap_image`` gives the face."""


class PictureError(ValueError):
    """A picture of the task cannot be used; ``role`` is the task's name for it."""

    def __init__(self, role: str, *details: object) -> None:
        super().__init__(role, *details)
        self.role = role


class UnreadablePicture(PictureError):
    """The bytes are not a whole PNG, JPEG or WebP picture."""

    def __str__(self) -> str:
        return f"failed to get valid image ({self.role}): not a readable PNG, JPEG or WebP picture"


class PictureTooLarge(PictureError):
    """A side of the picture (``width`` or ``height``, in pixels) reaches ``limit``."""

    def __init__(self, role: str, width: int, height: int, limit: int) -> None:
        super().__init__(role, width, height, limit)
        self.width = width
        self.height = height
        self.limit = limit

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}"
        return f"image size too large ({self.role}): {size}, each side must be under {self.limit} pixels"


class NoFaceFound(PictureError):
    """The picture was read, but holds no face, upright or turned by 90, 180 or 270 degrees."""

    def __str__(self) -> str:
        return f"no face found in the image ({self.role})"


class NoSuchFace(NoFaceFound):
    """The picture shows ``count`` faces, and none of them has the ``number`` that was asked for."""

    def __init__(self, role: str, number: int, count: int) -> None:
        super().__init__(role, number, count)
        self.number = number
        self.count = count

    def __str__(self) -> str:
        return f"{super().__str__()} with the index {self.number}: it shows {self.count}, numbered from 0"


class FaceIndexError(ValueError):
    """``swap_faces_index`` or ``target_faces_index`` cannot be followed."""
