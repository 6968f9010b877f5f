"""What went over the wire: one request and its answer. The checks keep them; reports and proposals read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
from unitask_contract import bundle
from unitask_contract.bundle import fields, items

DEEPEST = 100  # levels that a body may be nested; those of the API are 8 deep, and what reads them is recursive


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        method: In capitals.
        path: Of the URL, without its query.
        sent: The body of the request; empty: it had none.
        status: The HTTP status of the answer.
        content: The body of the answer.
        content_type: As the answer says it; empty: it does not.
        query: Of the URL, without its question mark.
    """

    method: str
    path: str
    sent: bytes
    status: int
    content: bytes
    content_type: str = "application/json"
    query: str = ""

    @classmethod
    def of(cls, request: httpx.Request, status: int, content: bytes) -> Exchange:
        """The exchange of a request that has been read, and its answer."""
        url = request.url
        return cls(request.method, url.path, request.content, status, content, query=url.query.decode())

    @property
    def operation(self) -> str:
        """The operationId; empty when the contract has no such operation, as for a file that is fetched."""
        try:
            return bundle.operation_of(self.method, self.path)
        except LookupError:
            return ""

    @property
    def part(self) -> str:
        """The answer that the contract has for this status: "200" or "default"."""
        return "200" if self.status == 200 else "default"

    @property
    def asked(self) -> Any:
        """The body of the request, read as JSON; None when it is none."""
        return read_json(self.sent)

    @property
    def answer(self) -> Any:
        """The body of the answer, read as JSON; None when it is none."""
        return read_json(self.content)

    @property
    def family(self) -> str:
        """The family of the task that it is about; empty when it is about none, or about one that is not known."""
        answered: Any = fields(self.answer).get("data")
        tasks = (fields(answered), fields(self.asked))
        found = [entry for task in tasks for entry in bundle.entries_of(task.get("model"), task.get("task_type"))]
        return str(found[0]["family"]) if found else ""


def read_json(body: bytes) -> Any:
    """A body read as JSON; None when it is none, or nested too deep to be read."""
    try:
        return strictly(body)
    except (ValueError, RecursionError):
        return None


def strictly(body: bytes) -> Any:
    """A body read as JSON, which has neither NaN nor Infinity.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested deeper than DEEPEST.
    """
    value = json.loads(body, parse_constant=_no_constant)
    if depth_and_size(value)[0] > DEEPEST:
        raise RecursionError(f"it is nested deeper than {DEEPEST} levels")
    return value


def depth_and_size(value: Any) -> tuple[int, int]:
    """How deep a JSON value is nested, and how many values are in it; a plain value is 0 deep and 1 value."""
    depth, size, level = 0, 0, [value]
    while level:
        size += len(level)
        level = [part for one in level for part in (fields(one).values() or items(one))]
        depth += bool(level)
    return depth, size


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def shortened(text: str, letters: int) -> str:
    """A text of so many letters at most, with a sign that something is left out."""
    return text if len(text) <= letters else f"{text[:letters]}..."
