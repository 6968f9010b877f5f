"""Errors for responses that are not the documented success."""

from __future__ import annotations

import json
import re
from typing import Any

from .json_types import as_object

__all__ = ["ApiError", "MalformedField", "MalformedResponse", "UnexpectedStatus"]

_TASK_ID = re.compile(r'"task_id\\*"\s*:\s*\\*"([^"\\]{1,200})\\*"')  # in JSON, and in JSON inside a JSON string


class ApiError(Exception):
    """A response that is not the documented success. Every error of this package is one.

    Attributes:
        status_code: The HTTP status; None when a reader was made from a body alone.
        content: The body. It may hold a key or a webhook secret.
    """

    def __init__(
        self, message: str, *, status_code: int | None = None, content: bytes = b"", task_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.content = content
        self._task_id = task_id

    @property
    def body(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is not one."""
        try:
            return as_object(json.loads(self.content))
        except (ValueError, RecursionError):
            return {}

    @property
    def code(self) -> int | None:
        """The code of the envelope; None without one."""
        code = self.body.get("code")
        return code if isinstance(code, int) and not isinstance(code, bool) else None

    @property
    def task_id(self) -> str | None:
        """The task id in the response, also in a damaged body; None without one."""
        if self._task_id is not None:
            return self._task_id
        found = _TASK_ID.search(self.content.decode(errors="replace"))
        return found[1] if found and "\ufffd" not in found[1] else None


class UnexpectedStatus(ApiError):
    """The HTTP status or the code of the envelope says that the request was refused."""


class MalformedResponse(ApiError):
    """The status is that of a success, but the body is not as documented."""


class MalformedField(MalformedResponse):
    """A field is missing, or has another type than documented.

    Attributes:
        field: The class and the name, such as "Task.status".
        value: The value in the response.
        expected: The documented type, in words.
    """

    def __init__(
        self, message: str, *, field: str = "", value: object = None, expected: str = "", task_id: str | None = None
    ) -> None:
        super().__init__(message, task_id=task_id)
        self.field = field
        self.value = value
        self.expected = expected
