"""Count how much of the contract a set of exchanges exercises. docs/coverage.md explains the kinds.

A field or a word counts only in a body that is valid as a whole.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from unitask_contract import bundle
from unitask_contract.bundle import error_rows, fields
from unitask_contract.exchange import Exchange
from unitask_contract.schema_paths import Place, Placed, below, parts, rules

KINDS = ("operations", "statuses", "fields", "words", "examples", "errors")
MAX_DIGITS = 19  # of a 64-bit integer
Element = tuple[str, str]  # kind, name


class Coverage:
    """Counts exercised elements of the contract."""

    def __init__(self, exchanges: Iterable[Exchange] = ()) -> None:
        self._done: set[Element] = set()
        self._seen: set[tuple[str, bytes, int, bytes]] = set()
        for exchange in exchanges:
            self.add(exchange)

    def add(self, exchange: Exchange) -> None:
        """Count a request and its response."""
        if operation := exchange.operation:
            self._add(operation, exchange)
            if query := bundle.query_of(operation):
                given = parse_qsl(exchange.query, keep_blank_values=True)
                self._use(query, {name: _typed(name, text, query) for name, text in given})

    def add_notification(self, operation: str, content: bytes) -> None:
        """Count a webhook that was accepted, by its operationId."""
        self._add(operation, Exchange("POST", "", content, 200, b""))

    def numbers(self) -> dict[str, tuple[int, int]]:
        """Return (exercised, total) by kind."""
        done, every = (Counter(kind for kind, _ in found) for found in (elements() & self._done, elements()))
        return {kind: (done[kind], every[kind]) for kind in KINDS}

    def missing(self) -> list[str]:
        """Return what was not exercised; the name of a field or a word is its place in the spec."""
        return sorted(f"{kind} {name}" for kind, name in elements() - self._done)

    def _add(self, operation: str, exchange: Exchange) -> None:
        key = operation, exchange.sent, exchange.status, exchange.content
        if key in self._seen:
            return
        self._seen.add(key)
        components, part = bundle.components_of(operation), exchange.part
        asked, answer = exchange.asked, exchange.answer
        self._done.add(("operations", operation))
        self._done.update(_examples(operation, "request", asked), _examples(operation, part, answer))
        self._done.update(("errors", name) for name in _rows(operation, exchange.status, answer, exchange.content))
        if "request" in components:
            self._use(components["request"], asked)
        if part not in components or self._use(components[part], answer):
            self._done.add(("statuses", f"{operation} {part}"))
        self._add_task_type(operation, asked)
        outputs, output = _output(operation, asked, answer)
        any(self._use(name, output) for name in outputs)

    def _add_task_type(self, operation: str, asked: Any) -> None:
        given = fields(asked)
        entry = bundle.entry_of(given.get("model"), given.get("task_type"), given.get("input"))
        if operation == "create_task" and entry and self._use(entry["input"], asked["input"]):
            self._done.add(("operations", entry["name"]))
        for entry in bundle.entries().values():
            if entry.get("create") == operation and bundle.allows(entry["input"], asked):
                self._done.add(("operations", entry["name"]))

    def _use(self, component: str, value: Any) -> bool:
        """Count the fields and words of a valid value; return whether it is valid."""
        is_valid = bundle.allows(component, value)
        if is_valid:
            applying = rules(bundle.component(component), Place(component), value, bundle.schemas())
            self._done.update(_used(value, _advised(applying)))
        return is_valid


# What there is to exercise.


@cache
def elements() -> frozenset[Element]:
    """Return everything that can be exercised."""
    found = {("operations", name) for name in (*bundle.operations(), *bundle.entries())}
    found |= {("examples", name) for name in bundle.examples()} | {("errors", name) for name in error_rows()}
    left = {str(entry[part]) for entry in bundle.entries().values() for part in ("input", "output")}
    for name, operation in bundle.operations().items():
        found |= {("statuses", f"{name} {part}") for part in operation["responses"]}
        left |= {*bundle.components_of(name).values(), *filter(None, [bundle.query_of(name)])}
    done: set[str] = set()
    while left:
        name = left.pop()
        done.add(name)
        left |= set(_declare(bundle.component(name), Place(name), found)) - done
    return frozenset(found)


def _declare(rule: Any, place: Place, found: set[Element]) -> Iterator[str]:
    """Collect fields and words of a rule; yield the components that it refers to."""
    node = fields(rule)
    found.update(("words", f"{place}={json.dumps(word)}") for word in node.get("enum", ()))
    if "$ref" in node:
        yield str(node["$ref"]).rpartition("/")[2]
    for name, part in node.get("properties", {}).items():
        found.add(("fields", str(place.below("properties", name))))
        yield from _declare(part, place.below("properties", name), found)
    for key in node.keys() & {"items", "additionalProperties", "x-advisory"}:
        yield from _declare(node[key], place.below(key), found)
    for key in ("allOf", "anyOf", "oneOf"):
        for number, part in enumerate(node.get(key, ())):
            yield from _declare(part, place.below(key, number), found)


# What an exchange exercises.


def _used(value: Any, found: list[Placed]) -> Iterator[Element]:
    """Yield the fields and words that a value uses, given the schemas that apply to it."""
    for place, rule in found:
        if value in rule.get("enum", ()):
            yield "words", f"{place}={json.dumps(value)}"
    for step, part in parts(value):
        named = (place.below("properties", step) for place, rule in found if step in rule.get("properties", {}))
        yield from (("fields", str(place)) for place in named)
        yield from _used(part, _advised(below(found, part, step, bundle.schemas())))


def _advised(found: list[Placed]) -> list[Placed]:
    """Add the advice of each schema, which is a schema too."""
    advice = [(place.below("x-advisory"), rule["x-advisory"]) for place, rule in found if "x-advisory" in rule]
    inner = [(place.below("allOf", n), part) for place, rule in advice for n, part in enumerate(rule.get("allOf", ()))]
    return [*found, *advice, *inner]


def _examples(operation: str, part: str, value: Any) -> Iterator[Element]:
    for name, one in bundle.examples().items():
        if (one["x-operation"], one["x-part"], one["value"]) == (operation, part, value):
            yield "examples", name


def _rows(operation: str, status: int, answer: Any, content: bytes) -> Iterator[str]:
    text, code = content.decode(errors="replace").lower(), bundle.at(answer, "/data/error/code")
    for name, row in error_rows().items():
        if (
            row.get("status", status) == status
            and row.get("family", "core") in ("core", bundle.family_of(operation))
            and row.get("words", "").lower() in text
            and row.get("code", code) == code
            and ("has" not in row or (status != 200 and bundle.at(answer, row["has"]) is not None))
        ):
            yield name


def _output(operation: str, asked: Any, answer: Any) -> tuple[Iterable[str], Any]:
    """Return the components that the output of a task may fit, and the output; no components without an output."""
    for protocol, rule in bundle.document()["x-protocols"].items():
        if rule["poll"] == operation:
            found = {name: bundle.at(answer, pointer, ...) for name, pointer in rule["output"].items()}
            output = {name: value for name, value in found.items() if value is not ...}
            return sorted({one["output"] for one in bundle.entries().values() if one["protocol"] == protocol}), output
    task = fields(fields(asked if operation == "receive_task" else answer).get("data"))
    if task.get("output") is None:
        return [], None
    entry = bundle.entry_of(task.get("model"), task.get("task_type"), task.get("input"))
    names = [entry["output"]] if entry else bundle.outputs_of(task.get("model"), task.get("task_type"))
    return names, task["output"]


def _typed(name: str, text: str, component: str) -> int | str:
    rule = bundle.component(component)["properties"].get(name, {})
    is_number = rule.get("type") == "integer" and text.isdecimal() and len(text) <= MAX_DIGITS
    return int(text) if is_number else text
