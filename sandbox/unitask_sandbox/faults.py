"""Faults: what goes wrong with some requests, tasks or webhooks, and how to order it in Python and in JSON.

faults.json has the named faults, and faults.schema.json says what an order may have: a name with some attributes of
`Fault`, or a whole fault, whose body is text, or JSON. An order may also be the name alone.
"""

import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, cast

from jsonschema_rs import Draft202012Validator
from unitask_api import contract

from unitask_sandbox import bundle
from unitask_sandbox.request_log import is_of_key, key_fingerprint

Kind = Literal["refuse", "replace", "edit", "slow", "cut", "short", "lose", "drop", "repeat", "fail"]

# The evidence of a named fault: a page says so; a real body was recorded; a public client handles it; a public thread
# reports it; other clients were measured against it; or there is no report, and it is plausible.
EVIDENCE = ("documented", "recorded", "client", "thread", "measured", "plausible")

NEXT = "next"
FILE, WEBHOOK, WORK = "get_file", "send_webhook", "run_task"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next requests of an operation, to a task, or to its webhook.

    Attributes:
        operation: The operationId of the spec: "create_task", "get_task", ...; or "get_file", the download of an
            output; "send_webhook", the notification of a task; "run_task", the work on a task.
        kind: What happens; docs/faults.md describes each kind.
        status: The HTTP status of the answer.
        body: The body of the answer; JSON, unless `headers` have another content-type. Of a failed task: its error.
        headers: The headers of the answer; with "edit", the headers that are replaced.
        times: How many times it happens; None until it is cleared.
        changes: New values of fields by their path: {"data.status": "Completed"}.
        without: Paths of fields that are left out.
        part: The path of what is sent in place of the whole body; empty for the whole.
        delay: Seconds until the answer begins.
        drip: Seconds that its body takes.
        key: Only with this API key, or one with this fingerprint (the arrivals show it); None for any.
        task: Only for this task; "next" for the next that is created; None for any.
        model: The model of the next task; None for any.
        task_type: The task type of the next task; None for any.

    Raises:
        ValueError: Such a fault is impossible; the message names the field.
    """

    operation: str
    kind: Kind
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    times: int | None = 1
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    without: tuple[str, ...] = ()
    part: str = ""
    delay: float = 0.0
    drip: float = 0.0
    key: str | None = field(default=None, repr=False)
    task: str | None = None
    model: str | None = None
    task_type: str | None = None

    def __post_init__(self) -> None:
        _check(as_order(self))

    def edited(self, body: Any) -> Any:
        """Change a JSON body in place and return it, or its part; a path that leads nowhere changes nothing."""
        for path, value in self.changes.items():
            holder, name = _holder(body, path)
            holder[name] = value
        for path in self.without:
            holder, name = _holder(body, path)
            holder.pop(name, None)
        holder, name = _holder(body, self.part)
        return holder.get(name) if self.part else body


_DEFAULTS: Final[Mapping[str, Any]] = {
    each.name: each.default if each.default_factory is MISSING else each.default_factory() for each in fields(Fault)
}


def _holder(body: Any, path: str) -> tuple[dict[str, Any], str]:
    """Return the object that holds the field of a path, an empty one when there is none; and the name of the field."""
    *parents, name = path.split(".")
    node = body
    for parent in parents:
        node = cast("dict[str, Any]", node).get(parent) if isinstance(node, dict) else None
    return (cast("dict[str, Any]", node) if isinstance(node, dict) else {}), name


def as_order(fault: Fault) -> dict[str, Any]:
    """Return a fault as an order in JSON, without default values; a key as its fingerprint."""
    order = {name: value for name, value in asdict(fault).items() if value != _DEFAULTS[name]}
    if fault.without:
        order["without"] = [*fault.without]
    if fault.body:
        order["body"] = _read(fault.body)
    if isinstance(fault.key, str) and not re.fullmatch("[0-9a-f]{8}", fault.key):
        order["key"] = key_fingerprint(fault.key)
    return order


def _read(body: bytes) -> Any:
    text = body.decode(errors="replace")
    try:
        return json.loads(text) if text.startswith(("{", "[")) else text
    except ValueError:
        return text


@cache
def _schema() -> Draft202012Validator:
    schema: dict[str, Any] = json.loads(files("unitask_sandbox").joinpath("faults.schema.json").read_bytes())
    schema["properties"]["operation"]["enum"] = [*contract.operations(), FILE, WEBHOOK, WORK]
    return Draft202012Validator(schema, mask=bundle.IT)


def _check(order: object) -> None:
    if problems := bundle.problems(_schema(), order):
        raise ValueError(problems.replace("False schema does not allow it", "leave it out"))


@dataclass(frozen=True, slots=True)
class NamedFault:
    """A fault of faults.json."""

    name: str
    what: str  # happens, in a sentence
    source: str  # who has reported it
    evidence: str  # one of `EVIDENCE`
    outcome: Mapping[str, str]  # by operation: how the call of a client ends: "done", or an error of unitask
    steps: tuple[Mapping[str, Any], ...]  # orders; one without an operation is for the operation that is chosen


@cache
def library() -> Mapping[str, NamedFault]:
    """Return the named faults by their names."""
    written = json.loads(files("unitask_sandbox").joinpath("faults.json").read_text(encoding="utf-8"))
    return {name: NamedFault(name=name, **entry) for name, entry in written.items()}


def named(name: str, **changes: Any) -> list[Fault]:
    """Return the faults of a name, with changed attributes; for its first operation unless `operation` is given."""
    if name not in library():
        raise ValueError(f"no fault is named {name!r}; there are {', '.join(library())}")
    outcome = library()[name].outcome
    operation = changes.pop("operation", next(iter(outcome)))
    if operation not in outcome:
        raise ValueError(f"{name} does not happen to {operation!r}; it does to {', '.join(outcome)}")
    return [_fault({"operation": operation, **step, **changes}) for step in library()[name].steps]


def read_orders(value: object) -> list[Fault]:
    """Return the faults of an order, or of a list of orders."""
    orders = cast("list[object]", value) if isinstance(value, list) else [value]
    found: list[Fault] = []
    for number, order in enumerate(orders, start=1):
        try:
            found += _ordered({"fault": order} if isinstance(order, str) else order)
        except ValueError as error:
            raise ValueError(f"fault {number} of {len(orders)}: {error}") from None
    return found


def read_faults(path: Path) -> tuple[Fault, ...]:
    """Return the faults that a JSON file orders.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not JSON, or an entry is wrong; the message says which.
    """
    try:
        return tuple(read_orders(json.loads(path.read_bytes())))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _ordered(order: object) -> list[Fault]:
    _check(order)
    given = dict(cast("dict[str, Any]", order))
    return named(given.pop("fault"), **given) if "fault" in given else [_fault(given)]


def _fault(given: dict[str, Any]) -> Fault:
    body: object = given.get("body", "")
    content = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    values: dict[str, Any] = {**given, "body": content.encode(), "without": tuple(given.get("without", ()))}
    return Fault(**values)


class Script:
    """The faults that are still to happen, in their order; any thread may call any method."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._lock = threading.Lock()
        self._coming = list(faults)

    def add(self, faults: Iterable[Fault]) -> None:
        """Add faults after those that were ordered before."""
        with self._lock:
            self._coming += faults

    def coming(self) -> list[Fault]:
        """Return what is still to happen; `times` says how many times."""
        with self._lock:
            return list(self._coming)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._coming.clear()

    def accepted(self, key: str | None, task_id: str, model: str, task_type: str) -> list[Fault]:
        """Bind the faults that were ordered for the next task to this one; return them as they were."""
        ordered: list[Fault] = []
        with self._lock:
            for place, fault in enumerate(self._coming):
                fits = fault.model in (None, model) and fault.task_type in (None, task_type)
                if fault.task == NEXT and fits and is_of_key(key, fault.key):
                    ordered.append(fault)
                    self._coming[place] = replace(fault, task=task_id, model=None, task_type=None)
        return ordered

    def refused(self, task_id: str, ordered: Iterable[Fault]) -> None:
        """Keep the faults that were bound to a task for another one, because this one was not created."""
        again = iter(ordered)
        with self._lock:
            self._coming = [next(again) if fault.task == task_id else fault for fault in self._coming]

    def take(self, operation: str, key: str | None = None, task_id: str | None = None) -> Fault | None:
        """Return the fault that happens now, and count it; None when there is none."""
        with self._lock:
            for place, fault in enumerate(self._coming):
                if fault.operation == operation and fault.task in (None, task_id) and is_of_key(key, fault.key):
                    if fault.times == 1:
                        del self._coming[place]
                    elif fault.times is not None:
                        self._coming[place] = replace(fault, times=fault.times - 1)
                    return fault
        return None
