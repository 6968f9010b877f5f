"""Scripted faults: what goes wrong with some requests, tasks or webhooks.

This module says what can be ordered. fault_injection.py applies it to an answer, webhooks.py to a webhook, and
scheduler.py to a task. Faults with a name, and orders in JSON, are in library.py.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final, Literal, cast, get_args

from unitask_api import contract

from unitask_sandbox.request_log import is_of_key

Kind = Literal["refuse", "replace", "edit", "slow", "cut", "short", "lose", "drop", "repeat", "fail"]

NEXT = "next"
FILE, WEBHOOK, WORK = "get_file", "send_webhook", "run_task"
# Where something can go wrong besides the operations of the spec, and the kinds of faults that can
PLACES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        FILE: frozenset({"refuse", "replace", "slow", "cut", "short", "lose", "drop"}),
        WEBHOOK: frozenset({"edit", "slow", "lose", "repeat"}),
        WORK: frozenset({"fail"}),
    }
)

_ANSWER_KINDS: Final = frozenset({"refuse", "replace", "edit", "slow", "cut", "short", "lose", "drop"})
_OF_A_TASK: Final = frozenset({"get_task", "cancel_task", WEBHOOK, WORK})
_CHANGES: Final = frozenset({"headers", "changes", "without", "part"})
_PARTS: Mapping[str, frozenset[str]] = {  # what a fault says of the answer, by kind
    "refuse": frozenset({"status", "body", "headers"}),
    "replace": frozenset({"status", "body", "headers"}),
    "edit": _CHANGES,
    "repeat": _CHANGES,
    "fail": frozenset({"body"}),
}


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next requests of an operation, to a task, or to its webhook.

    Attributes:
        operation: The operationId of the spec: "create_task", "get_task", ...; or "get_file", a look at an output file;
            "send_webhook", the notification of a task; "run_task", the work on a task.
        kind: Of a request: "refuse": nothing is done, and status, headers and body are the answer. "replace": it is
            done as asked, and status, headers and body are answered instead of the truth. "edit": the answer is true
            but for what `headers`, `changes`, `without` and `part` say. "slow": the answer is true, and takes `delay`
            and `drip`. "cut": the connection is closed in the middle of the body. "short": the body is whole, more was
            announced, and the connection is closed. "lose": it is done, and the connection is closed without an answer.
            "drop": the connection is closed, and nothing is done.
            Of a webhook: "lose", "edit"; "slow": it is sent `delay` seconds later; "repeat": it is sent, and at once
            again, with the changes. Of a task: "fail": it ends failed, with the body as its error.
        status: The HTTP status of the answer.
        body: The body of the answer; JSON, unless `headers` have another content-type.
        headers: The headers of the answer; of an edited one, those that are other.
        times: How many times it happens; None until it is cleared.
        changes: Fields that are put in place of the true ones, by their path: {"data.status": "Completed"}.
        without: Paths of fields that are left out.
        part: The path of what is sent in place of the whole body; empty for the whole.
        delay: Seconds until the answer begins.
        drip: Seconds that its body takes.
        key: Only with this API key, or one of this fingerprint (the arrivals show it); None for any.
        task: Only for this task; "next" for the next that is created; None for any.
        model: The model of the next task; None for any.
        task_type: The task type of the next task; None for any.
    """

    operation: str
    kind: Kind
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=_nothing)
    times: int | None = 1
    changes: Mapping[str, Any] = field(default_factory=_nothing)
    without: tuple[str, ...] = ()
    part: str = ""
    delay: float = 0.0
    drip: float = 0.0
    key: str | None = field(default=None, repr=False)
    task: str | None = None
    model: str | None = None
    task_type: str | None = None

    def __post_init__(self) -> None:
        if self.operation not in contract.operations() and self.operation not in PLACES:
            raise ValueError(
                f"no operation {self.operation!r}; there are {', '.join(contract.operations())}, {', '.join(PLACES)}"
            )
        if self.kind not in get_args(Kind):
            raise ValueError(f"no fault of kind {self.kind!r}; there are {', '.join(get_args(Kind))}")
        if self.kind not in (allowed := PLACES.get(self.operation, _ANSWER_KINDS)):
            raise ValueError(
                f"{self.operation} has no fault of kind {self.kind!r}; it has {', '.join(sorted(allowed))}"
            )
        self._check_numbers()
        self._check_parts()
        self._check_whose()
        if self.operation == WORK and not isinstance(json.loads(self.body or b"{}"), dict):
            raise ValueError(f"body {self.body[:80]!r}: give the error of the failed task, a JSON object")

    def edited(self, body: Any) -> Any:
        """A JSON body, in place, with the changes; what a path does not lead to stays as it is."""
        for path, value in self.changes.items():
            holder, name = _holder(body, path)
            if holder is not None:
                holder[name] = value
        for path in self.without:
            holder, name = _holder(body, path)
            if holder is not None:
                holder.pop(name, None)
        if not self.part:
            return body
        holder, name = _holder(body, self.part)
        return None if holder is None else holder.get(name)

    def _check_numbers(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"status {self.status}: give one from 200 to 599")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times {self.times}: give a number from 1 on, or none: until it is cleared")
        for name in ("delay", "drip"):
            if not 0 <= getattr(self, name) <= threading.TIMEOUT_MAX:
                raise ValueError(f"{name} {getattr(self, name)}: give seconds, from 0 on")

    def _check_parts(self) -> None:
        for name in ("status", "body", "headers", "changes", "without", "part"):
            if name not in _PARTS.get(self.kind, ()) and getattr(self, name) != DEFAULTS[name]:
                raise ValueError(f"a fault of kind {self.kind!r} has no {name}: leave it out")
        if "content-length" in (name.lower() for name in self.headers):
            raise ValueError("headers: content-length is counted; a fault of kind 'short' announces more than comes")
        if self.drip and (self.operation == WEBHOOK or self.kind in ("lose", "drop", "cut", "short")):
            raise ValueError("drip: there is no whole body that could take so long")
        if self.delay and (self.operation == WORK or (self.operation == WEBHOOK and self.kind != "slow")):
            raise ValueError(f"delay: {self.operation} of kind {self.kind!r} has none; leave it out")
        if self.kind == "slow" and not (self.delay or self.drip):
            raise ValueError("a fault of kind 'slow' needs a delay, or a drip")
        if self.kind == "edit" and not (self.headers or self.changes or self.without or self.part):
            raise ValueError("a fault of kind 'edit' needs headers, changes, without, or part")

    def _check_whose(self) -> None:
        if self.task is not None and self.operation not in _OF_A_TASK:
            raise ValueError(f"task: {self.operation} is of no task; {', '.join(sorted(_OF_A_TASK))} are")
        if self.task != NEXT and (self.model or self.task_type):
            raise ValueError("model and task_type say which the next task is: they need task 'next'")
        if self.key is not None and self.operation == FILE:
            raise ValueError("key: a file is fetched without one")


DEFAULTS: Final[Mapping[str, Any]] = {
    each.name: cast("Any", each.default_factory)() if callable(each.default_factory) else each.default
    for each in fields(Fault)
}


def _holder(body: Any, path: str) -> tuple[dict[str, Any] | None, str]:
    *parents, name = path.split(".")
    node = body
    for parent in parents:
        node = cast("dict[str, Any]", node).get(parent) if isinstance(node, dict) else None
    return (cast("dict[str, Any]", node), name) if isinstance(node, dict) else (None, name)


class Script:
    """The faults that are still to happen, in their order; any thread may call any method."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._lock = threading.Lock()
        self._coming = list(faults)

    def add(self, fault: Fault) -> None:
        """Let a fault happen after those that were ordered before."""
        with self._lock:
            self._coming.append(fault)

    def coming(self) -> list[Fault]:
        """What is still to happen; `times` says how many times."""
        with self._lock:
            return list(self._coming)

    def clear(self) -> None:
        """Let all go well from now on."""
        with self._lock:
            self._coming.clear()

    def accepted(self, key: str | None, task_id: str, model: str, task_type: str) -> None:
        """Say which task the next one is: what was ordered for it is for this one."""
        with self._lock:
            for place, fault in enumerate(self._coming):
                fits = fault.model in (None, model) and fault.task_type in (None, task_type)
                if fault.task == NEXT and fits and is_of_key(key, fault.key):
                    self._coming[place] = replace(fault, task=task_id, model=None, task_type=None)

    def take(self, operation: str, key: str | None = None, task_id: str | None = None) -> Fault | None:
        """The fault that happens now; None when all goes well."""
        with self._lock:
            for place, fault in enumerate(self._coming):
                if fault.operation == operation and fault.task in (None, task_id) and is_of_key(key, fault.key):
                    self._count(place, fault)
                    return fault
        return None

    def _count(self, place: int, fault: Fault) -> None:
        if fault.times == 1:
            del self._coming[place]
        elif fault.times is not None:
            self._coming[place] = replace(fault, times=fault.times - 1)
