"""What goes wrong with a picture or with the numbers of its faces, as the failure of a task.

The errors have the provider's words themselves (`unitask_sandbox.faces.errors`); here they get its code.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from unitask_sandbox.faces import FaceIndexError, PictureError, PictureTooLarge
from unitask_sandbox.failures import GENERAL_FAILURE, IMAGE_TOO_LARGE, TaskFailure


@contextmanager
def told(*others: type[ValueError]) -> Generator[None]:
    """Make task failures of what is wrong with the input.

    Args:
        others: More errors whose words are for the caller.

    Raises:
        TaskFailure: A picture cannot be used, a face number cannot be followed, or one of the others.
    """
    errors: tuple[type[ValueError], ...] = (PictureError, FaceIndexError, *others)
    try:
        yield
    except errors as error:
        code = IMAGE_TOO_LARGE if isinstance(error, PictureTooLarge) else GENERAL_FAILURE
        raise TaskFailure(str(error), code) from error
