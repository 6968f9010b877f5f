"""Types of requests, and the reading of responses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Generic, NoReturn, TypeAlias, TypeVar, cast

from .errors import ApiError, MalformedField, MalformedResponse, UnexpectedStatus
from .json_types import as_object, is_list, is_object
from .reader import DEEPEST, Reader

__all__ = ["FileTypes", "Response", "multipart", "parse", "read_response"]

ReaderT = TypeVar("ReaderT", bound=Reader)
LOWEST_REFUSAL = 300  # the code of the envelope repeats the HTTP status; clients also met 0 on success


FileContent: TypeAlias = IO[bytes] | bytes | str
# A file of a multipart request: its content, or name and content, or name, content and media type (as in httpx).
FileTypes: TypeAlias = FileContent | tuple[str | None, FileContent] | tuple[str | None, FileContent, str | None]


@dataclass(frozen=True, slots=True)
class Response(Generic[ReaderT]):
    """A response, of success or not.

    Attributes:
        status_code: The HTTP status.
        content: The body.
        headers: The headers.
        parsed: The reader of the body; None when the response is not the documented success.
        error: The error that `result` raises; None for the documented success.
    """

    status_code: int
    content: bytes
    headers: Mapping[str, str]
    parsed: ReaderT | None
    error: ApiError | None = None

    def result(self) -> ReaderT:
        """Return the reader of the body.

        Raises:
            UnexpectedStatus: The HTTP status or the code of the envelope says that the request was refused.
            MalformedResponse: The body is not as documented.
        """
        if self.error is not None:
            raise self.error
        return cast("ReaderT", self.parsed)

    def __repr__(self) -> str:
        return f"Response({self.status_code}, {self.parsed!r}, {self.error!r})"


def read_response(
    status_code: int, content: bytes, headers: Mapping[str, str], kind: type[ReaderT]
) -> Response[ReaderT]:
    """Read a response; never raise.

    Args:
        status_code: The HTTP status.
        content: The body.
        headers: The headers.
        kind: The reader of the documented success.

    Returns:
        The response, with a reader or with an error.
    """
    try:
        return Response(status_code, content, headers, parse(status_code, content, kind))
    except ApiError as error:
        return Response(status_code, content, headers, None, error)


def parse(status_code: int, content: bytes, kind: type[ReaderT]) -> ReaderT:
    """Read the body of a documented success.

    Args:
        status_code: The HTTP status.
        content: The body.
        kind: Its reader.

    Returns:
        The reader, whose required fields are present and of the documented type.

    Raises:
        UnexpectedStatus: The HTTP status or the code of the envelope says that the request was refused.
        MalformedResponse: The body is not a JSON object, or a required field is missing or of the wrong type.
    """
    if not 200 <= status_code < 300:
        raise _refusal(status_code, content)
    body = _json_object(content)
    if body is None:
        raise _malformed(status_code, content, f"a body of {len(content)} bytes that is not a JSON object")
    if _is_refused(body):
        raise _refusal(status_code, content)
    if _is_envelope(body.get("data")):
        raise _malformed(status_code, content, "an envelope in an envelope")
    answer = kind(body)
    try:
        answer.check()
    except MalformedField as error:
        error.status_code, error.content = status_code, content
        raise
    return answer


def multipart(body: Mapping[str, Any], files: Iterable[str]) -> dict[str, Any]:
    """Split the fields of a multipart request into what httpx takes as `data` and `files`."""
    names = frozenset(files)
    return {
        "data": {name: value for name, value in body.items() if name not in names},
        "files": {name: value for name, value in body.items() if name in names},
    }


def _refusal(status_code: int, content: bytes) -> UnexpectedStatus:
    error = UnexpectedStatus("", status_code=status_code, content=content)
    said = error.body.get("message")
    code = "" if error.code in (None, status_code) else f", code {error.code}"
    error.args = (f"HTTP {status_code}{code}: {said!r:.300}" if said else f"HTTP {status_code}{code}",)
    return error


def _malformed(status_code: int, content: bytes, what: str) -> MalformedResponse:
    return MalformedResponse(f"HTTP {status_code} with {what}", status_code=status_code, content=content)


def _is_envelope(value: object) -> bool:
    return is_object(value) and is_object(value.get("data")) and "code" in value


def _is_refused(body: Mapping[str, Any]) -> bool:
    """Return whether an envelope in an HTTP success is a refusal: its code says so, and it names no accepted task."""
    try:
        refused = float(body.get("code") or 0) >= LOWEST_REFUSAL
    except (TypeError, ValueError, OverflowError):
        return False
    task = as_object(body.get("data"))
    accepted = bool(task.get("task_id")) and str(task.get("status")).casefold() != "failed"
    return refused and not accepted


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return value if is_object(value) and _depth(value) <= DEEPEST else None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _depth(value: object) -> int:
    """Count the levels of objects and lists, up to one more than `DEEPEST`."""
    level: list[object] = [value]
    depth = 0
    while level and depth <= DEEPEST:
        objects, lists = filter(is_object, level), filter(is_list, level)
        level = [part for values in (*(each.values() for each in objects), *lists) for part in values]
        depth += 1
    return depth
