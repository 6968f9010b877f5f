"""One request and its answer, as they went over the wire."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import httpx
from unitask_api import contract
from unitask_contract import bundle
from unitask_contract.bundle import fields, items

DEEPEST = 100  # levels of nesting in a body; bodies of the API have 8, and what reads them is recursive


@dataclass(frozen=True)  # without slots, which would leave no room for cached properties
class Exchange:
    """One request and its answer: method in capitals, path without the query, the bodies, the file in a recording."""

    method: str
    path: str
    sent: bytes
    status: int
    content: bytes
    content_type: str = "application/json"
    query: str = ""
    file: str = ""

    @classmethod
    def of(cls, request: httpx.Request, status: int, content: bytes) -> Self:
        """Return the exchange of a request that has been read, and its answer."""
        url = request.url
        return cls(request.method, url.path, request.content, status, content, query=url.query.decode())

    @property
    def operation(self) -> str:
        """The operationId; empty when the contract has no such operation, as for a file."""
        try:
            return bundle.operation_of(self.method, self.path)
        except LookupError:
            return ""

    @property
    def part(self) -> str:
        """The response of the contract for this status: "200", another status that is documented, or "default"."""
        status = str(self.status)
        is_other = self.status != 200 and self.operation
        return "default" if is_other and status not in bundle.operations()[self.operation]["responses"] else status

    @cached_property
    def asked(self) -> Any:
        """The body of the request, read as JSON."""
        return read_json(self.sent)

    @cached_property
    def answer(self) -> Any:
        """The body of the answer, read as JSON."""
        return read_json(self.content)

    @property
    def family(self) -> str:
        """The family of the task in the exchange; empty when there is no known one."""
        tasks = (fields(fields(self.answer).get("data")), fields(self.asked))
        found = [one for task in tasks for one in contract.named(task.get("model"), task.get("task_type"))]
        return found[0].family if found else ""

    @property
    def group(self) -> str:
        """The family of the task; without one the group of the operation."""
        return self.family or (bundle.family_of(self.operation) if self.operation else "other")


def read_json(body: bytes) -> Any:
    """Read a body as JSON; return None when it is not JSON, or nested too deep."""
    try:
        return read_strictly(body)
    except (ValueError, RecursionError):
        return None


def read_strictly(body: bytes) -> Any:
    """Read a body as JSON, without NaN and Infinity; raise ValueError, or RecursionError beyond DEEPEST levels."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    value = json.loads(body, parse_constant=refuse)
    if body.count(b"{") + body.count(b"[") > DEEPEST and depth_and_size(value)[0] > DEEPEST:
        raise RecursionError(f"the body is nested deeper than {DEEPEST} levels")
    return value


def depth_and_size(value: Any) -> tuple[int, int]:
    """Return how deep a JSON value is nested, 0 for a scalar, and how many values it holds."""
    depth, size, level = 0, 0, [value]
    while level:
        size += len(level)
        level = [part for one in level for part in (fields(one).values() or items(one))]
        depth += bool(level)
    return depth, size


def shortened(text: str, length: int) -> str:
    """Return at most so many characters of a text, and a sign that something is left out."""
    return text if len(text) <= length else f"{text[:length]}..."
