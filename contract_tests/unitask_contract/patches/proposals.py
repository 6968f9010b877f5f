"""Differences between answers and the spec, and a patch of the spec that would allow them.

    found = differences(exchanges)
    patch = proposal(found)          # for `git apply` in a checkout

The redacted body is the evidence, and becomes an example of the spec. The patch allows what the example shows.
"""

import difflib
import itertools
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.exchange import Exchange, shortened
from unitask_contract.patches.contradictions import NEW_FIELD, NEW_WORD, Finding, findings, schema_of
from unitask_contract.patches.redaction import key_of, name_of, redacted, shown_path
from unitask_contract.patches.widening import ABOUT, OBSERVED, Unchangeable, contradiction, widening
from unitask_contract.schema_paths import Schemas, form_of, pointer, type_of

STATUS = ("#/components/schemas/TaskStatus", NEW_WORD)
CHANGES, FACTS, LEDGER, SOURCES = "observed.yaml", "confirmed.yaml", "drift.yaml", "sources.yaml"

MOST_EDITS = 100  # for one body
SHOWN = 200  # characters of what came, and of what the spec says


class Kind(StrEnum):
    """The kind of a difference."""

    BROKEN = "broken"  # the spec does not allow it
    NEW_FIELD = "new field"  # the spec does not name the field; it allows it, since answers are open
    NEW_WORD = "new word"  # the spec does not list the word; it allows it, since the list is open
    UNDOCUMENTED = "undocumented"  # the spec has no schema for the answer, or no such operation or task type

    @property
    def is_new(self) -> bool:
        """Whether the spec allows it without a name."""
        return self in (Kind.NEW_FIELD, Kind.NEW_WORD)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between answers and the spec.

    Attributes:
        key: What one change of the spec would allow: schema and keyword; operation and part without a schema.
        evidence: The redacted body; None when no redacted body would show the difference, so nothing is proposed.
    """

    kind: Kind
    operation: str  # of the first answer that shows it
    part: str  # "200" or "default"; "request" for a request, or a notification
    family: str  # of the task; empty for none
    says: str  # what the spec says
    came: str  # what came; the type of a value that is redacted
    where: str = ""  # the path in the body, with a star for each index
    key: tuple[str, str] = ("", "")
    evidence: Any = None
    count: int = 1  # of the bodies that show it
    families: frozenset[str] = frozenset()  # of these bodies; without a task, the group of the operation
    file: str = ""  # of a recording: that of the first of these bodies

    def __str__(self) -> str:
        times = [] if self.count == 1 else [f"{self.count} times"]
        files = [f"{'first ' * bool(times)}in {self.file}"] if self.file else []
        seen = f" ({', '.join([*times, *files])})" if times or files else ""
        return f"{self.operation} {self.part} {self.where or '/'}: {self.says}; came {self.came}{seen}"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Facts of the spec that a recording confirms.

    Attributes:
        source: Its name for `x-source`.
        page: Where the recording is from.
        date: When it began.
        exchanges: How many it has.
        places: Each fact, and how many exchanges confirm it.
    """

    source: str
    page: str
    date: str
    exchanges: int
    places: Mapping[str, int]

    def entry(self) -> dict[str, Any]:
        """Return the entry of confirmed.yaml."""
        places = dict(sorted(self.places.items()))
        return {"source": self.source, "exchanges": self.exchanges, "places": places}


def differences(
    exchanges: Iterable[Exchange], notifications: Iterable[tuple[str, Any]] = (), *, requests: bool = False
) -> list[Difference]:
    """Return each difference of exchanges and notifications once: what is not allowed before what is not named.

    Args:
        exchanges: In their order. They are read twice; those of an iterator are kept meanwhile.
        notifications: Operation and body of each.
        requests: Whether a request that was accepted is a difference, too, if the spec refuses it.
    """
    found: dict[object, Difference] = {}
    every = list(exchanges) if isinstance(exchanges, Iterator) else exchanges
    failed, passed = _tasks(every)
    for exchange in every:
        if requests and is_accepted(exchange, failed):
            _add(found, exchange, _of_request(exchange, found))
        _add(found, exchange, _of_answer(exchange, found))
    for operation, body in notifications:
        exchange = Exchange("POST", "", b"", 200, json.dumps(body).encode())
        component = bundle.components_of(operation)["request"]
        _add(found, exchange, _found(operation, "request", exchange, body, component, found))
    each = (one if one.key != STATUS or one.came in passed else replace(one, evidence=None) for one in found.values())
    return sorted(each, key=lambda one: (list(Kind).index(one.kind), one.operation, one.where))


def _add(found: dict[object, Difference], exchange: Exchange, more: Iterable[tuple[object, Difference]]) -> None:
    """Add the differences of an exchange, with their identities; count those that are known."""
    for identity, one in [*more]:
        known = found.get(identity, one)
        better = known if one.evidence is None or known.evidence is not None else one
        families = known.families | {exchange.group}
        file = known.file or exchange.file
        found[identity] = replace(better, count=known.count + (identity in found), families=families, file=file)


def _tasks(exchanges: Iterable[Exchange]) -> tuple[Collection[str], Collection[str]]:
    """Return the ids of the tasks that failed, and the status words, as JSON, after which a task had another one.

    The request of a task that failed was not accepted in the end. A word that passed means that a task is not done.
    """
    last: dict[str, object] = {}
    failed, passed = set[str](), set[str]()
    for exchange in exchanges:
        task = fields(fields(exchange.answer).get("data"))
        name, word = str(task.get("task_id")), task.get("status")
        if last.get(name, word) != word:
            passed.add(json.dumps(last[name]))
        last[name] = word
        if str(word).lower() == "failed":
            failed.add(name)
    return failed, passed


def is_accepted(exchange: Exchange, failed: Collection[str] = ()) -> bool:
    """Return whether the answer is a success, and the task that it names is none of those that failed."""
    answer = fields(exchange.answer)
    code: object = answer.get("code", 200)
    task_id = str(fields(answer.get("data")).get("task_id"))
    return 200 <= exchange.status < 300 and (not isinstance(code, int) or code < 400) and task_id not in failed


def _of_request(exchange: Exchange, known: Collection[object]) -> Iterator[tuple[object, Difference]]:
    """Yield where the spec refuses a request that was accepted; a field that it does not name is no difference."""
    component = bundle.components_of(exchange.operation).get("request") if exchange.operation else None
    given = fields(exchange.asked)
    if component is None or not given:
        return
    names = str(given.get("model")), str(given.get("task_type"))
    if exchange.operation == "create_task" and not bundle.outputs_of(*names):
        shown = " ".join(name_of(part) for name in names for part in name.split("/"))
        says, came = "no such task type", f"{shown}, which was accepted"
        yield names, Difference(Kind.UNDOCUMENTED, exchange.operation, "request", "", says, came, key=names)
    for identity, one in _found(exchange.operation, "request", exchange, given, component, known):
        if not one.kind.is_new:
            yield identity, replace(one, came=f"{one.came}, which was accepted")


def _of_answer(exchange: Exchange, known: Collection[object]) -> Iterator[tuple[object, Difference]]:
    if not (operation := exchange.operation):
        if exchange.status < 400 and exchange.answer is not None:
            steps = [step if name_of(step) == step else "*" for step in exchange.path.split("/")[1:]]
            key = exchange.method, "/".join(["", *steps])
            says, came = "no such operation", f"an answer with status {exchange.status}"
            yield key, Difference(Kind.UNDOCUMENTED, *key, "", says, came, key=key)
        return
    if _is_stream(exchange) or _is_documented_file(exchange):
        return
    part, body = exchange.part, exchange.answer
    component = bundle.components_of(operation).get(part)
    if part == "default" and 200 < exchange.status < 300 and (usual := bundle.components_of(operation).get("200")):
        part, component = str(exchange.status), usual
        says, came = f"no answer with status {part}", "one"
        key, evidence = (operation, part), redacted(body, usual) if body is not None else None
        yield key, Difference(Kind.UNDOCUMENTED, *key, exchange.family, says, came, key=key, evidence=evidence)
    yield from _found(operation, part, exchange, body, component, known)


def _is_stream(exchange: Exchange) -> bool:
    return exchange.content_type.startswith("text/event-stream") and fields(exchange.asked).get("stream") is True


def _is_documented_file(exchange: Exchange) -> bool:
    """Return whether the operation documents an answer of this media type, such as sound, and not of JSON."""
    method, path = bundle.routes()[exchange.operation]
    content = bundle.document()["paths"][path][method.lower()]["responses"]["200"]["content"]
    media = exchange.content_type.partition(";")[0].strip().lower()
    return exchange.part == "200" and media in content and media != "application/json"


def _found(
    operation: str, part: str, exchange: Exchange, body: Any, component: str | None, known: Collection[object]
) -> Iterator[tuple[object, Difference]]:
    """Yield identity and difference for each difference of a body; without evidence where all are known."""
    if component is None or body is None:
        media = re.match(r"[a-z]+/[a-z0-9.+-]{1,40}", exchange.content_type.lower())
        says, came = "JSON", f"something else, as {media[0] if media else 'no known type'}"
        if component is None:
            says, came = "no such answer", "one"
        key = operation, part
        yield (*key, component), Difference(Kind.UNDOCUMENTED, *key, exchange.family, says, came, key=key)
        return
    found = {_identity(one): one for one in _findings(body, component)}
    evidence = None if all(identity in known for identity in found) else redacted(body, component)
    shown = {key_of(one): one for one in _findings(evidence, component)} if evidence is not None else {}
    for identity, one in found.items():
        redacted_one = shown.get(key_of(one))
        where, came = shown_path(one.where), type_of(one.value)
        if redacted_one:
            where = pointer(redacted_one.where)
            if redacted_one.value == one.value:  # no dummy value
                came = shortened(json.dumps(one.value), SHOWN)
        kind, says = Kind.BROKEN, f"{one.keyword}: {shortened(json.dumps(one.rule), SHOWN)}"
        if one.keyword == NEW_FIELD:
            kind, says = Kind.NEW_FIELD, "no field of this name"
        elif one.keyword == NEW_WORD:
            kind = Kind.NEW_WORD
        elif one.keyword == "required":
            came = f"none of {', '.join(one.names)}"
        key, proof = (str(one.place), one.keyword), evidence if redacted_one else None
        yield identity, Difference(kind, operation, part, exchange.family, says, came, where, key, proof)


def _findings(body: Any, component: str, schemas: Schemas | None = None) -> list[Finding]:
    known = schemas or bundle.schemas()
    return findings(body, schema_of(component, body, known), known)


def _identity(found: Finding) -> object:
    """Return what findings share that ask for the same change: schema, keyword, and the type to allow."""
    allowed = form_of(found.value) if found.keyword == NEW_FIELD else type_of(found.value)
    return str(found.place), found.keyword, found.names, allowed


# The patch.


def spec_folder() -> Path:
    """Return the hand-written spec: of the checkout around this module, else the copy in the wheel."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parents[1] / "spec"
    return beside if (beside / "sources.yaml").is_file() else package / "spec"


def proposal(
    found: Iterable[Difference], confirmed: Confirmed | None = None, changes: Sequence[dict[str, Any]] = ()
) -> str:
    """Return a patch that makes the spec allow, and name, what the differences show; empty when there is none.

    It is a unified diff for the root of a checkout. It adds each body as an example, and entries to three files; the
    facts that a recording confirms to a fourth.

    Args:
        found: The differences.
        confirmed: The facts.
        changes: More entries of observed.yaml, from the recording of the facts.
    """
    folder = spec_folder()
    schemas: Schemas = bundle.schemas()
    taken = {path.relative_to(folder).as_posix() for path in folder.glob("examples/*/observed-*.json")}
    examples: dict[str, str] = {}
    entries: dict[str, list[dict[str, Any]]] = {CHANGES: [*changes], LEDGER: [], FACTS: []}
    bodies: dict[str, Difference] = {}
    for one in found:
        if one.evidence is not None:
            bodies.setdefault(json.dumps([one.operation, one.part, one.evidence]), one)
    for difference in bodies.values():
        path = _free_path(difference, {*examples, *taken})
        name = path.removeprefix("examples/").removesuffix(".json").replace("/", ".")
        with suppress(Unchangeable):
            schemas = _accept(difference, schemas, name, entries)
            examples[path] = json.dumps(_example(difference), indent=2, ensure_ascii=False) + "\n"
    sources: dict[str, tuple[str, str]] = {}
    if examples:
        sources[OBSERVED] = "an answer of a provider", str(datetime.now(UTC).date())
    if confirmed and (confirmed.places or changes):
        sources[confirmed.source] = confirmed.page, confirmed.date
        entries[FACTS] += [confirmed.entry()] if confirmed.places else []
    texts = {name: _yaml(part) for name, part in entries.items() if part}
    if new := sources.keys() - bundle.document()["x-sources"].keys():
        texts[SOURCES] = "".join(source_line(name, *sources[name]) for name in sorted(new))
    changed = [_diff(name, (folder / name).read_text(encoding="utf-8"), text) for name, text in texts.items()]
    return "".join([*changed, *(_diff(path, None, text) for path, text in sorted(examples.items()))])


def _accept(
    difference: Difference, schemas: Schemas, example: str, entries: dict[str, list[dict[str, Any]]]
) -> Schemas:
    """Change the components until they allow a body, and add the entries; raise Unchangeable before any is added."""
    operation, part = difference.operation, difference.part
    parts = bundle.components_of(operation)
    component = parts.get(part) or parts["200"]
    changes: list[dict[str, Any]] = [] if part in parts else [_new_status(operation, part, example)]
    contradictions: list[dict[str, Any]] = []
    while left := _findings(difference.evidence, component, schemas):
        if len(changes) == MOST_EDITS:
            raise Unchangeable(f"{MOST_EDITS} changes are not enough")
        change = widening(left[0], schemas)
        changes.append(change.entry(example))
        if not left[0].is_new:
            contradictions.append(contradiction(left[0], schemas, example, len(contradictions) + 1))
        schemas = change.applied(schemas)
    entries[CHANGES] += changes
    entries[LEDGER] += contradictions
    return schemas


def _new_status(operation: str, status: str, example: str) -> dict[str, Any]:
    """Return the entry of observed.yaml for an answer like that with 200, with another status."""
    schema = {"$ref": f"#/components/schemas/{bundle.components_of(operation)['200']}"}
    answer = {"description": f"As with 200. {ABOUT}", "content": {"application/json": {"schema": schema}}}
    return {"place": f"{bundle.pointer_of(operation)}/responses", "merge": {status: answer}, "example": example}


def _example(difference: Difference) -> dict[str, Any]:
    what = f"A {difference.kind} that no page names" if difference.kind.is_new else "What the pages do not allow"
    return {
        "summary": f"{what}, as it came at {difference.where or '/'}; everything else is replaced by dummy values",
        "x-source": [OBSERVED],
        "x-evidence": "recorded",
        "x-operation": difference.operation,
        "x-part": difference.part,
        "value": difference.evidence,
    }


def _free_path(difference: Difference, taken: Collection[str]) -> str:
    family = difference.family or bundle.family_of(difference.operation)
    last = re.sub(r"[^a-z0-9]+", "-", difference.where.replace("*", "").lower()).strip("-") or "body"
    numbered = (f"{last}-{number}" if number > 1 else last for number in itertools.count(1))
    paths = (f"examples/{family}/observed-{name}.{difference.part}.json" for name in numbered)
    return next(path for path in paths if path not in taken)


def source_line(name: str, page: str, date: str) -> str:
    """Return the line of sources.yaml for a real body."""
    return f"{name}: {{evidence: recorded, page: {json.dumps(page)}, date: '{date}'}}\n"


def _yaml(entries: list[dict[str, Any]]) -> str:
    """Return the entries of a list, with a blank line before each."""
    texts = (
        yaml.safe_dump([one], default_flow_style=False if "places" in one else None, width=math.inf, sort_keys=False)
        for one in entries
    )
    return "".join(f"\n{text}" for text in texts)


def _diff(path: str, before: str | None, added: str) -> str:
    """Return a diff that adds a text at the end of a file, or adds the file."""
    path = f"spec/{path}"
    lines = [] if before is None else before.splitlines(keepends=True)
    name = "/dev/null" if before is None else f"a/{path}"
    diff = difflib.unified_diff(lines, [*lines, *added.splitlines(keepends=True)], name, f"b/{path}")
    head = f"diff --git a/{path} b/{path}\n" + ("new file mode 100644\n" if before is None else "")
    return head + "".join(diff)
