"""What was exercised of the contract, counted over the bundle: of each family how much, and what was not.

A `Coverage` is told what went over the wire, and counts:

    operations  those that were asked; of a family its task types, created with an input that the contract allows
    statuses    answers of an operation that the contract has, "200" and "default", with a body that it allows
    branches    of the schemas of bodies, queries, inputs and outputs (branches.py)
    words       of their enums, advised ones included
    examples    documented bodies that were sent, or answered, as they are
    errors      rows of error-rows.yaml
    scenarios   those that were played

Rules of this file: a part of a body counts only when the whole body is allowed; a component that several families share
counts once, for the general operations before all.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from functools import cache
from importlib.resources import files
from typing import Any, cast
from urllib.parse import parse_qsl

import yaml
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.coverage.branches import branches, canonical, reached, taken
from unitask_contract.exchange import Exchange, read_json
from unitask_contract.scenarios import scenarios

ALL = "all"  # the row of all families
KINDS = ("operations", "statuses", "branches", "words", "examples", "errors", "scenarios")
OF_A_PROVIDER = ("operations", "statuses", "branches", "words")  # what its answers to our requests can exercise
GENERAL = ("core", "account", "upload", "llm", "webhook")
LONGEST_INTEGER = 19  # digits, of 64 bits
Element = tuple[str, str]  # kind, name


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that was not exercised.

    Attributes:
        name: An operation, a task type, an example, a scenario, a row; or a component and a JSON pointer in it.
    """

    family: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.family}: {self.kind} {self.name}"


class Coverage:
    """Counts what is exercised; what came before costs next to nothing.

    Args:
        exchanges: What went over the wire so far.
    """

    def __init__(self, exchanges: Iterable[Exchange] = ()) -> None:
        self._done: set[Element] = set()
        self._seen: set[bytes] = set()
        for exchange in exchanges:
            self.add(exchange)

    def add(self, exchange: Exchange) -> None:
        """Count a request and its answer."""
        if operation := exchange.operation:
            self._note(operation, exchange.sent, exchange.status, exchange.content)
            if query := bundle.query_of(operation):
                self._is_taken(query, _query_fields(exchange.query, query))

    def notified(self, operation: str, content: bytes) -> None:
        """Count a notification that was taken.

        Args:
            operation: Its operationId in the webhooks of the contract.
            content: Its body.
        """
        self._note(operation, content, 200, b"")

    def played(self, scenario: str) -> None:
        """Count a scenario by its name."""
        self._done.add(("scenarios", scenario))

    def numbers(
        self, kinds: Collection[str] = KINDS, among: Collection[str] = ()
    ) -> dict[str, dict[str, tuple[int, int]]]:
        """By family and kind: how many were exercised, of how many; the families in their order, then "all".

        Args:
            kinds: Only these.
            among: Only these families; empty: all.
        """
        whole, done = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for element, family in elements().items():
            if not among or family in among:
                for row in (family, ALL):
                    whole[row, element[0]] += 1
                    done[row, element[0]] += element in self._done
        counted = {
            family: {kind: (done[family, kind], whole[family, kind]) for kind in kinds if whole[family, kind]}
            for family in (*families(), ALL)
        }
        return {family: row for family, row in counted.items() if row}

    def missing(self, kinds: Collection[str] = KINDS, among: Collection[str] = ()) -> list[Missing]:
        """What was not exercised, family by family; of some kinds and families alone, as in `numbers`."""
        rows = [
            Missing(family, *element)
            for element, family in elements().items()
            if element not in self._done and element[0] in kinds and (not among or family in among)
        ]
        return sorted(rows, key=lambda row: (families().index(row.family), KINDS.index(row.kind), row.name))

    def table(self, kinds: Collection[str] = KINDS, among: Collection[str] = ()) -> str:
        """The numbers as a table in Markdown, a row a family."""
        lines = ["| family | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
        for family, row in self.numbers(kinds, among).items():
            cells = ["{} of {}".format(*row[kind]) if kind in row else "-" for kind in kinds]
            lines.append(f"| {family} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def _note(self, operation: str, sent: bytes, status: int, content: bytes) -> None:
        mark = hashlib.blake2b(repr((operation, sent, status, content)).encode(), digest_size=16).digest()
        if mark in self._seen:
            return
        self._seen.add(mark)
        asked, answer = _body(sent, bundle.components_of(operation).get("request")), read_json(content)
        part = "200" if status == 200 else "default"
        self._done.add(("operations", operation))
        self._done.update(_examples(operation, "request", asked), _examples(operation, part, answer))
        self._done.update(("errors", name) for name in _rows(operation, status, answer, content))
        self._take(operation, "request", asked)
        if self._take(operation, part, answer) or part not in bundle.components_of(operation):
            self._done.add(("statuses", f"{operation} {part}"))
        self._take_task(operation, asked, answer)

    def _take(self, operation: str, part: str, value: Any) -> bool:
        component = bundle.components_of(operation).get(part)
        return component is not None and self._is_taken(component, value)

    def _is_taken(self, component: str, value: Any) -> bool:
        found = taken(component, value)
        self._done.update((_kind(branch), branch) for branch in found or ())
        return found is not None

    def _take_task(self, operation: str, asked: Any, answer: Any) -> None:
        """The input and the output of a task, which the catalogue describes."""
        if operation == "create_task":
            entry = _entry(fields(asked), fields(asked).get("input"))
            if entry and self._is_taken(entry["input"], asked["input"]):
                self._done.add(("operations", entry["name"]))
        for entry in _created(operation):
            if taken(entry["input"], asked) is not None:
                self._done.add(("operations", entry["name"]))
        for components, output in _outputs(operation, asked, answer):
            any(self._is_taken(component, output) for component in components)


# What there is to exercise.


@cache
def elements() -> Mapping[Element, str]:
    """Everything that there is to exercise, and the family of each."""
    found: dict[Element, str] = {}
    for name, operation in bundle.operations().items():
        family = bundle.family_of(name)
        found["operations", name] = family
        found.update({("statuses", f"{name} {part}"): family for part in operation["responses"]})
    found.update({("operations", name): entry["family"] for name, entry in bundle.entries().items()})
    for component, family in _owners().items():
        found.update({(_kind(branch), branch): family for branch in branches(component)})
    found.update({("examples", name): name.partition(".")[0] for name in bundle.examples()})
    found.update({("errors", name): row.get("family", "core") for name, row in error_rows().items()})
    found.update({("scenarios", one.name): one.family for one in scenarios()})
    return found


@cache
def families() -> tuple[str, ...]:
    """The general operations by their kinds, then the families of the catalogue."""
    return (*GENERAL, *sorted({entry["family"] for entry in bundle.entries().values()}))


@cache
def _owners() -> Mapping[str, str]:
    """Every component that a body can reach, and its family."""
    roots = [
        (bundle.family_of(name), component)
        for name in sorted(bundle.operations(), key=lambda name: families().index(bundle.family_of(name)))
        for component in bundle.components_of(name).values()
    ]
    roots += [(bundle.family_of(name), query) for name in bundle.operations() if (query := bundle.query_of(name))]
    roots += [(entry["family"], entry[part]) for entry in bundle.entries().values() for part in ("input", "output")]
    owners: dict[str, str] = {}
    for family, root in roots:
        for component in reached(root):
            owners.setdefault(component, family)
    return owners


def _kind(branch: str) -> str:
    return "words" if "/enum=" in branch else "branches"


@cache
def error_rows() -> Mapping[str, Mapping[str, Any]]:
    """The rows of error-rows.yaml by their names."""
    rows: dict[str, Any] = yaml.safe_load(
        files("unitask_contract.coverage").joinpath("error-rows.yaml").read_text("utf-8")
    )
    return rows


# What an exchange exercises.


@cache
def _documented() -> Mapping[tuple[str, str, str], list[str]]:
    found: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, one in bundle.examples().items():
        found[one["x-operation"], one["x-part"], canonical(one["value"])].append(name)
    return dict(found)


def _examples(operation: str, part: str, value: Any) -> Iterator[Element]:
    if value is not None:
        yield from (("examples", name) for name in _documented().get((operation, part, canonical(value)), ()))


def _rows(operation: str, status: int, answer: Any, content: bytes) -> Iterator[str]:
    words, code = _said(answer), fields(fields(fields(answer).get("data")).get("error")).get("code")
    text = (" ".join(words) if words else content.decode(errors="replace")).lower()
    for name, row in error_rows().items():
        if (
            row.get("status", status) == status
            and (row.get("family", "core") in ("core", bundle.family_of(operation)))
            and row.get("words", "").lower() in text
            and row.get("code", code) == code
            and ("form" not in row or (status != 200 and row["form"] == _form(answer)))
        ):
            yield name


def _said(answer: Any) -> list[str]:
    """The words of a refusal, and of a failed task."""
    body, task = fields(answer), fields(fields(answer).get("data"))
    holders = (body, fields(body.get("error")), task, fields(task.get("error")))
    found = [holder[key] for holder in holders for key in ("message", "raw_message") if key in holder]
    lists = (task.get("error_messages"), fields(body.get("task_result")).get("error_messages"))
    found += [word for words in lists if isinstance(words, list) for word in cast("list[object]", words)]
    return [str(word) for word in found]


def _form(answer: Any) -> str:
    body = fields(answer)
    return "error.message" if "message" in fields(body.get("error")) else "message" if "message" in body else ""


@cache
def _created(operation: str) -> tuple[dict[str, Any], ...]:
    """The legacy task types that an operation creates."""
    return tuple(entry for entry in bundle.entries().values() if entry.get("create") == operation)


def _entry(task: Mapping[str, Any], given: Any) -> dict[str, Any] | None:
    """The task type of a task, told by its names and, where they are shared, by its input."""
    named = [
        entry
        for entry in bundle.entries_of(task.get("model"), task.get("task_type"))
        if all(fields(given).get(key) == value for key, value in entry.get("match", {}).items())
    ]
    return max(named, key=lambda entry: len(entry.get("match", {})), default=None)


_LOOKS: Mapping[str, str] = {rules["look"]: name for name, rules in bundle.document()["x-protocols"].items()}
_NOTHING = object()


def _outputs(operation: str, asked: Any, answer: Any) -> Iterator[tuple[Iterable[str], Any]]:
    """The output of each task in an answer or a notification, and the components that it may be one of."""
    if protocol := _LOOKS.get(operation):
        entries = (entry for entry in bundle.entries().values() if entry["protocol"] == protocol)
        parts: dict[str, str] = bundle.document()["x-protocols"][protocol]["output"]
        found = {name: bundle.at(answer, pointer, _NOTHING) for name, pointer in parts.items()}
        output = {name: value for name, value in found.items() if value is not _NOTHING}
        yield sorted({entry["output"] for entry in entries}), output
        return
    task = fields(fields(asked if operation == "receive_task" else answer).get("data"))
    if task.get("output") is not None:
        entry = _entry(task, task.get("input"))
        named = bundle.outputs_of(task.get("model"), task.get("task_type"))
        yield [entry["output"]] if entry else named, task["output"]


# Reading.


def _body(sent: bytes, component: str | None) -> Any:
    return _form_fields(sent, component) if sent.startswith(b"--") and component else read_json(sent)


def _form_fields(sent: bytes, component: str) -> dict[str, Any]:
    """The fields of a form."""
    boundary = sent.partition(b"\r\n")[0].removeprefix(b"--")
    message: Any = message_from_bytes(b'content-type: multipart/form-data; boundary="' + boundary + b'"\r\n\r\n' + sent)
    found: dict[str, Any] = {}
    for part in message.get_payload() if message.is_multipart() else ():
        name, content = str(part.get_param("name", header="content-disposition")), part.get_payload(decode=True) or b""
        found[name] = _typed(name, content.decode(errors="replace"), component)
    return found


def _query_fields(query: str, component: str) -> dict[str, Any]:
    return {name: _typed(name, text, component) for name, text in parse_qsl(query, keep_blank_values=True)}


def _typed(name: str, text: str, component: str) -> int | str:
    """A value as the schema types it: in forms and queries everything is text."""
    rule = bundle.component(component)["properties"].get(name, {})
    is_number = rule.get("type") == "integer" and text.isdecimal() and len(text) <= LONGEST_INTEGER
    return int(text) if is_number else text
