"""Scripted faults: what goes wrong with some requests, as a test has ordered it.

A defect (defects.py) is a promise that the provider always breaks; a fault happens to so many requests of an operation
and is over then. Rules of this file: what is ordered is written here, what it does to an answer in app.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from unitask_sandbox import bundle

Kind = Literal["refuse", "replace", "lose", "cut"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next requests of an operation.

    Attributes:
        operation: The operationId of the spec: "create_task", "get_task", ...
        kind: "refuse": nothing is done, and status, headers and body are the answer. "replace": it is done as asked,
            and status, headers and body are answered instead of the truth. "lose": it is done, and the connection is
            closed without an answer. "cut": it is done, and the connection is closed in the middle of the body.
        status: The HTTP status of the answer.
        body: The body of the answer; JSON, unless `headers` have another content-type.
        headers: The headers of the answer.
        times: How many requests it happens to.
    """

    operation: str
    kind: Kind
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    times: int = 1

    def __post_init__(self) -> None:
        if self.operation not in bundle.operations():
            raise ValueError(f"no operation {self.operation!r}; there are {', '.join(bundle.operations())}")
        if self.kind not in get_args(Kind):
            raise ValueError(f"no fault of kind {self.kind!r}; there are {', '.join(get_args(Kind))}")
        if not 200 <= self.status <= 599:
            raise ValueError(f"status {self.status}: give one from 200 to 599")
        if self.times < 1:
            raise ValueError(f"times {self.times}: give a number from 1 on")
        if self.kind in ("lose", "cut") and (self.status != 200 or self.body or self.headers):
            raise ValueError(
                f"a fault of kind {self.kind!r} has no answer of its own: leave out status, body and headers"
            )


class Script:
    """The faults that are still to happen, in their order; any thread may call any method."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._lock = threading.Lock()
        self._coming: list[Fault] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Let a fault happen after those that were ordered before."""
        with self._lock:
            self._coming += [fault] * fault.times

    def take(self, operation: str) -> Fault | None:
        """The fault that happens to this request of an operation; None when all goes well."""
        with self._lock:
            for number, fault in enumerate(self._coming):
                if fault.operation == operation:
                    return self._coming.pop(number)
        return None
