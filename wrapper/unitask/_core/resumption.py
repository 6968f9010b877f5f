"""What is needed to go on with a task elsewhere, as text: versioned, without secrets, never a pickle.

ut1.<JSON in base64url, without padding>
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import errors
from .shapes import is_list

if TYPE_CHECKING:
    from ..task import Task

PREFIX = "ut"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a token says.

    Attributes:
        task_id: Which task.
        model: Its model; empty when it was not known.
        task_type: Its task type; empty when it was not known.
        output: The class that reads its output, by name; empty when it was not known.
    """

    task_id: str
    model: str = ""
    task_type: str = ""
    output: str = ""


def token(task: Task[Any]) -> str:
    """The token of a task."""
    output = task.output_type.__name__
    content = [task.id, task.model, task.task_type, "" if output == "Output" else output]
    packed = base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")
    return f"{PREFIX}{VERSION}.{packed}"


def read(text: str) -> Resumed:
    """What a token says; any other text is the id of a task.

    Raises:
        InvalidInput: It is a token of another version, or it is cut off.
    """
    head, dot, packed = text.partition(".")
    version = head.removeprefix(PREFIX)
    if not dot or head == version or not version.isdecimal():
        return Resumed(text)
    if version != str(VERSION):
        raise errors.InvalidInput(f"the token is of version {version}, this unitask reads {VERSION}: update unitask")
    try:
        padded = packed + "=" * (-len(packed) % 4)
        content: Any = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        parts: Sequence[object] = content if is_list(content) else ()
        task_id, model, task_type, output = (part if isinstance(part, str) else "" for part in parts)
    except (binascii.Error, ValueError, RecursionError):
        task_id = model = task_type = output = ""
    if not task_id:
        raise errors.InvalidInput(f"the token {text!r:.80} is damaged: copy it again, or give the id of the task")
    return Resumed(task_id, model, task_type, output)
