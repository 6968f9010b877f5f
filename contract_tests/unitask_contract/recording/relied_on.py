"""What an app relies on, by a recording of its traffic.

Whether the app reads a field of an answer is not in a recording: each field that came counts.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl

from unitask_api import contract
from unitask_contract.bundle import at, fields
from unitask_contract.changes import described
from unitask_contract.containment import Document, Schema, dereferenced, plain
from unitask_contract.recording.folder import Body, Recorded
from unitask_contract.recording.texts import is_placeholder
from unitask_contract.schema_paths import Path, parts, pointer

MOST_VALUES = 5  # of a field, in the list of what the app relies on
UNKNOWN = ""  # instead of the JSON of a value that is not in the recording
QUERY = "query"
WEBHOOK = "webhooks POST task"
LENGTH = re.compile(r"\((\d{1,9}) characters(?:, sha256 [0-9a-f]{12})?\)\.*")  # texts.placeholder


@dataclass(slots=True)
class Seen:
    """In which file something was seen first, and in how many exchanges."""

    file: str
    count: int = 0

    def __str__(self) -> str:
        return f"{self.count} {'time' if self.count == 1 else 'times'}, first in {self.file}"


@dataclass(slots=True)
class Part:
    """The bodies of one kind, the queries, or the inputs or outputs of a task type.

    Attributes:
        label: "request", a status, "query", "input" or "output".
        media: The media type; empty without a body.
        sent: The JSON of each value that the app sent.
        received: The path of each field of the answers.
    """

    label: str
    media: str = ""
    sent: dict[str, Seen] = field(default_factory=dict[str, Seen])
    received: dict[str, Seen] = field(default_factory=dict[str, Seen])

    @property
    def is_answer(self) -> bool:
        return self.label.isdecimal()

    @property
    def fields(self) -> dict[str, set[str]]:
        """The path of each field, with the values that the app sent, as far as the recording has them."""
        found: dict[str, set[str]] = {path: set() for path in self.received if path}
        for value in (json.loads(text) for text in self.sent if text != UNKNOWN):
            for path, part in walk(value):
                known = not isinstance(part, list | dict) and removed(part) is None
                found.setdefault(pointer(path), set()).update([json.dumps(part)] if known else [])
        return {path: shown for path, shown in sorted(found.items()) if path}


@dataclass(slots=True)
class Use:
    """What the app does with one operation or task type."""

    name: str  # as in changes.py
    family: str
    seen: Seen
    parts: dict[tuple[str, str], Part] = field(default_factory=dict[tuple[str, str], Part])

    def part(self, label: str, media: str = "") -> Part:
        return self.parts.setdefault((label, media), Part(label, media))

    def __str__(self) -> str:
        lines = [f"used {self.seen}"]
        for part in self.parts.values():
            shown = (" ".join([path, *sorted(words)[:MOST_VALUES]]) for path, words in part.fields.items())
            lines += [f"{part.label}: {', '.join(shown)}"] if part.fields else []
        return "\n".join(lines)


class Contract:
    """The operations and task types of a bundle, without references."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.operations = described(document)
        self.ids = {one["operationId"]: where for where, one in self.operations.items()}
        self.tasks = {f"task {entry['name']}": cast("Document", entry) for entry in document["x-tasks"]}

    def rule(self, name: str, part: Part) -> Schema | None:
        """Return the schema of a part of an operation or task type; None if it has no such part."""
        if task := self.tasks.get(name):
            return plain(dereferenced(self.document, self.document["components"]["schemas"][task[part.label]]))
        found = self.operations[name]
        if part.label == QUERY:
            given = {one["name"]: one for one in found["parameters"] if one["in"] == QUERY}
            properties = {key: one.get("schema", {}) for key, one in given.items()}
            required = [key for key, one in given.items() if one.get("required")]
            return plain({"type": "object", "properties": properties, "required": required})
        content = self._content(name, part.label)
        return plain(content[part.media].get("schema", {})) if part.media in content else None

    def used(self, use: Use) -> Document:
        """Return what the app uses of an operation, without the schemas and the query: those have parts."""
        found = self.operations[use.name]
        if use.name == WEBHOOK:
            return found
        body: Document = found.get("requestBody", {})
        sent = [part.media for part in use.parts.values() if part.label == "request"]
        kept: Document = {"required": "" in sent and body.get("required"), "content": _contents(body, sent)}
        answers: Document = {}
        for part in use.parts.values():
            if part.is_answer and (holder := self._answer(found, part.label)):
                content = answers.setdefault(part.label, {"content": {}})["content"]
                content.update(_contents(holder, [part.media]))
        parameters = [one for one in found["parameters"] if one["in"] != QUERY]
        return {**found, "parameters": parameters, "requestBody": kept, "responses": answers}

    def where(self, use: Use, part: Part) -> str:
        """Return the name of a part, as in changes.py."""
        is_other = part.is_answer and part.label not in self.operations[use.name]["responses"]
        return f"{use.name} {'default' if is_other else part.label}"

    def media(self, name: str, label: str, body: Body) -> str:
        """Return the media type of a body; of JSON with another one, as curl sends it, the one of the contract."""
        media, content = body.kind.partition(";")[0].strip().lower(), self._content(name, label)
        return media if media in content or body.form != "json" else next(iter(content), media)

    def _content(self, name: str, label: str) -> Document:
        found = self.operations[name]
        holder: Document = found.get("requestBody", {}) if label == "request" else self._answer(found, label)
        content: Document = holder.get("content", {})
        return content

    @staticmethod
    def _answer(found: Document, status: str) -> Document:
        answers: Document = found["responses"]
        return answers.get(status) or (answers.get("default", {}) if status >= "4" else {})  # the default is a refusal


def _contents(holder: Document, media: Collection[str]) -> Document:
    return {name: {} for name in holder.get("content", {}) if name in media}


def uses(exchanges: Iterable[Recorded], old: Contract) -> dict[str, Use]:
    """Return what the app relies on, by operations and task types."""
    found: dict[str, Use] = {}
    for one in exchanges:

        def use(name: str, family: str, file: str = one.file_name, *, again: bool = True) -> Use:
            known = found.setdefault(name, Use(name, family, Seen(file)))
            known.seen.count += again or not known.seen.count
            return known

        if where := old.ids.get(one.operation):
            _add(use(where, old.operations[where]["tags"][0]), one, old)
            for entry, sent in _created(one, old):
                made = use(f"task {entry['name']}", entry["family"])
                _count(made.part("input").sent, [json.dumps(sent)] if sent is not None else [], one)
            for entry, received in _outputs(one, old, found):
                made = use(f"task {entry['name']}", entry["family"], again=False)
                _count(made.part("output").received, paths(received), one)
            if at(one.request.content, "/config/webhook_config/endpoint"):
                use(WEBHOOK, "webhook")
    return found


def _count(seen: dict[str, Seen], keys: Iterable[str], one: Recorded) -> None:
    for key in keys:
        seen.setdefault(key, Seen(one.file_name)).count += 1


def _add(use: Use, one: Recorded, old: Contract) -> None:
    body, query = one.request, dict(parse_qsl(one.query, keep_blank_values=True))
    sent = json.dumps(body.content) if body.form == "json" else UNKNOWN
    _count(use.part("request", old.media(use.name, "request", body)).sent, [sent], one)
    _count(use.part(QUERY).sent, [json.dumps(query)], one)
    if one.status:
        body, label = one.response, str(one.status)
        received = paths(body.content if body.form == "json" else None)
        _count(use.part(label, old.media(use.name, label, body)).received, received, one)


def _created(one: Recorded, old: Contract) -> Iterator[tuple[Document, Any]]:
    """Yield the task type that a request creates, and its input; the input of a legacy one is the whole body."""
    sent = fields(one.request.content)
    if one.operation == "create_task":
        if entry := contract.choose(old.tasks.values(), sent.get("model"), sent.get("task_type"), sent.get("input")):
            yield entry, sent.get("input")
    else:
        yield from ((entry, None) for entry in old.tasks.values() if entry.get("create") == one.operation)


def _outputs(one: Recorded, old: Contract, found: Mapping[str, Use]) -> Iterator[tuple[Document, Any]]:
    """Yield the task types that an answer can be of, and the output in it."""
    task = fields(fields(one.response.content).get("data"))
    if task.get("output") is not None:
        names = task.get("model"), task.get("task_type")
        fitting = [entry for entry in old.tasks.values() if (entry["model"], entry["task_type"]) == names]
        used = [entry for entry in fitting if f"task {entry['name']}" in found]
        yield from ((entry, task["output"]) for entry in used or fitting)
    for protocol, rules in old.document.get("x-protocols", {}).items():
        if rules["poll"] == one.operation:
            output = {name: at(one.response.content, place) for name, place in rules["output"].items()}
            present = {name: value for name, value in output.items() if value is not None}
            yield from ((entry, present) for entry in old.tasks.values() if entry["protocol"] == protocol and present)


def paths(value: Any) -> dict[str, None]:
    """Return the path of each part of a value, with a star for each index."""
    return dict.fromkeys(pointer(path) for path, _ in walk(value))


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    for step, part in parts(value):
        yield from walk(part, (*path, step))


def removed(value: Any) -> int | None:
    """Return the length of a text that was removed; 0 when it is not known, None for any other value."""
    if not isinstance(value, str):
        return None
    if found := LENGTH.fullmatch(value):
        return int(found[1])
    return 0 if is_placeholder(value) else None
