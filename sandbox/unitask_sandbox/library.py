"""Faults that have a name, and orders of faults in JSON.

The library is faults.json: by name what happens (`what`), who has reported it (`source`), how surely (`evidence`),
the `steps` that it takes, and for each operation that it can happen to what a client should make of it (`outcome`):
"done", all goes well in the end, or an error of unitask by its name. A step without an operation is of the one that
was asked for.

An order is a name; or an object with a name, `{"fault": "rate-limited", "times": 3}`, and what shall differ; or a fault
in full, `{"operation": "get_task", "kind": "edit", "changes": {"data.status": null}}`, with the attributes of `Fault`.
Its body is text, or JSON that is sent as such. Rules of this file: a mistake is a ValueError that names the entry, the
field and the value, before anything is ordered.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Final, cast

from unitask_sandbox.faults import DEFAULTS, Fault
from unitask_sandbox.request_log import key_fingerprint

# How surely a fault happens: a page says so; a real body was recorded; a public client handles it; a public thread
# reports it; other clients were measured against it; or there is no report, and it is plausible
EVIDENCE = ("documented", "recorded", "client", "thread", "measured", "plausible")

_OWN: Final = ("operation", "times", "delay", "key", "task", "model", "task_type")  # of an order by name


@dataclass(frozen=True, slots=True)
class NamedFault:
    """An entry of the library."""

    name: str  # its name
    what: str  # what happens, in a sentence
    source: str  # who has reported it
    evidence: str  # how surely: one of `EVIDENCE`
    # by operation what a client should make of it: "done", or the name of an error of unitask
    outcome: Mapping[str, str]
    steps: tuple[Mapping[str, Any], ...]  # the faults that it is made of, as orders

    def faults(self, **own: Any) -> list[Fault]:
        """Its faults, for its first operation unless another is given."""
        operation = own.pop("operation", next(iter(self.outcome)))
        if operation not in self.outcome:
            raise ValueError(f"{self.name} does not happen to {operation!r}; it does to {', '.join(self.outcome)}")
        return [_fault({"operation": operation, **step, **own}) for step in self.steps]


@cache
def library() -> Mapping[str, NamedFault]:
    """The faults that have a name, by it."""
    written = json.loads(files("unitask_sandbox").joinpath("faults.json").read_text(encoding="utf-8"))
    return {name: NamedFault(name=name, **entry) for name, entry in written.items()}


def named(name: str, **own: Any) -> list[Fault]:
    """The faults of a name; see `NamedFault.faults`."""
    if name not in library():
        raise ValueError(f"no fault is named {name!r}; there are {', '.join(library())}")
    return library()[name].faults(**own)


def read_orders(value: object) -> list[Fault]:
    """The faults of an order, or of a list of orders."""
    orders = cast("list[object]", value) if isinstance(value, list) else [value]
    found: list[Fault] = []
    for number, order in enumerate(orders, start=1):
        try:
            found += _ordered(order)
        except ValueError as error:
            raise ValueError(f"fault {number} of {len(orders)}: {error}") from None
    return found


def read_faults(path: Path) -> tuple[Fault, ...]:
    """The faults that a JSON file orders.

    Raises:
        ValueError: It cannot be read, or an entry is wrong; which one, and why.
    """
    try:
        return tuple(read_orders(json.loads(path.read_bytes())))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def as_order(fault: Fault) -> dict[str, Any]:
    """A fault as an order in JSON, without what goes without saying; a key as its fingerprint."""
    order = {name: getattr(fault, name) for name in DEFAULTS if getattr(fault, name) != DEFAULTS[name]}
    order |= {name: dict(order[name]) for name in ("headers", "changes") if name in order}
    order |= {name: list(order[name]) for name in ("without",) if name in order}
    if fault.body:
        order["body"] = _readable(fault.body)
    if fault.key and not re.fullmatch("[0-9a-f]{8}", fault.key):
        order["key"] = key_fingerprint(fault.key)
    return order


def _ordered(order: object) -> list[Fault]:
    if isinstance(order, str):
        return named(order)
    if not isinstance(order, dict):
        raise ValueError(f"{order!r:.80} is no order: give a name, or an object")
    given = cast("dict[str, Any]", order)
    if "fault" not in given:
        return [_fault(given)]
    _check_names(given, ("fault", *_OWN))
    _check_forms(own := {name: value for name, value in given.items() if name != "fault"})
    return named(str(given["fault"]), **own)


def _fault(given: Mapping[str, Any]) -> Fault:
    _check_names(given, tuple(each.name for each in fields(Fault)))
    if missing := [name for name in ("operation", "kind") if name not in given]:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    _check_forms(given)
    body: object = given.get("body", "")
    content = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    values: dict[str, Any] = {**given, "body": content.encode(), "without": tuple(given.get("without", ()))}
    return Fault(**values)


def _check_forms(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        kind, wanted = _FORMS[name]
        fits = isinstance(value, kind) and (name == "body" or not isinstance(value, bool))
        if fits and name == "headers":
            fits = _are_texts(cast("dict[str, object]", value).values())
        if fits and name == "without":
            fits = _are_texts(cast("list[object]", value))
        if not fits:
            raise ValueError(f"{name} is {value!r:.80}: give {wanted}")


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_names(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"no field {unknown[0]!r}; there are {', '.join(known)}")


def _readable(body: bytes) -> Any:
    text = body.decode(errors="replace")
    try:
        return json.loads(text) if text.startswith(("{", "[")) else text
    except ValueError:
        return text


_FORMS: Mapping[str, tuple[type | UnionType, str]] = {
    "operation": (str, "the name of an operation"),
    "kind": (str, "the name of a kind"),
    "status": (int, "an HTTP status"),
    "body": (object, "text, or JSON"),
    "headers": (dict, "an object of texts"),
    "times": (int | None, "a number, or null: until it is cleared"),
    "changes": (dict, "an object: the values by their paths"),
    "without": (list, "a list of paths"),
    "part": (str, "a path"),
    "delay": (int | float, "seconds"),
    "drip": (int | float, "seconds"),
    "key": (str | None, "an API key, or its fingerprint in the arrivals"),
    "task": (str | None, "the id of a task, or 'next'"),
    "model": (str | None, "a model"),
    "task_type": (str | None, "a task type"),
}
