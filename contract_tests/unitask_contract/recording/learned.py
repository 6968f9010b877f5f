"""What a recording says about the spec: where it differs, which facts it confirms, and a table by family.

A fact is confirmed by a body that has a value of its type at its place, and not null. A field of a request counts when
the task was completed, or when the operation makes no task and its answer is a success. A price counts when a bill
equals it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from unitask_contract import bundle, prices
from unitask_contract.bundle import fields, items
from unitask_contract.connecting import is_loopback
from unitask_contract.exchange import Exchange
from unitask_contract.patches.contradictions import schema_of
from unitask_contract.patches.proposals import Confirmed, Difference, differences, is_accepted
from unitask_contract.recording.folder import SANDBOX, Recorded, Recording
from unitask_contract.recording.live import content_type
from unitask_contract.recording.relied_on import removed
from unitask_contract.schema_paths import Place, Placed, below, parts, rules

HEAD = ("family", "exchanges", "task types", "statuses", "differences")
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")  # their values are texts
SIMULATED = "SIMULATED: the provider is local, so the recording is no evidence of the API; do not commit the patch"


@dataclass(frozen=True, slots=True)
class Learned:
    """What a recording says about the spec.

    Attributes:
        subject: The recording in a line.
        exchanges: How many there are.
        rows: The table by family, below its head.
        differences: Each once.
        confirmed: The facts that are recorded now, and were known from other sources.
        notes: Sentences for the report.
    """

    subject: str
    exchanges: int
    rows: Sequence[Sequence[str]]
    differences: Sequence[Difference]
    confirmed: Confirmed
    notes: Sequence[str]


@dataclass(slots=True)
class _Facts:
    """Collects what the exchanges confirm, and what passed."""

    number: int = 0
    lost: int = 0
    incomplete: list[str] = field(default_factory=list[str])  # names of files
    statuses: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])  # by family
    content_types: dict[object, Difference] = field(default_factory=dict[object, Difference])  # not in the spec
    places: Counter[str] = field(default_factory=Counter[str])
    bills: Counter[str] = field(default_factory=Counter[str])  # that differ from the price: the sentence about each
    types: dict[str, set[str]] = field(default_factory=dict[str, set[str]])  # by family: the completed task types
    _sent: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])  # by task id
    _done: set[str] = field(default_factory=set[str])

    def add(self, one: Recorded) -> None:
        self.number += 1
        self.lost += bool(one.lost)
        if one.lost:
            return
        exchange = _exchange(one)
        self.statuses.setdefault(exchange.group, Counter())[str(one.status)] += 1
        for each in content_type(one, exchange):
            known = self.content_types.get(each.key, replace(each, count=0))
            families = known.families | {exchange.group}
            self.content_types[each.key] = replace(known, count=known.count + 1, families=families)
        if exchange.operation and one.response.form in ("json", "bytes"):
            self._learn(exchange)

    def _learn(self, exchange: Exchange) -> None:
        operation, answer = exchange.operation, exchange.answer
        parts_of = bundle.components_of(operation)
        found = {*_used(parts_of[exchange.part], answer)} if exchange.part in parts_of else set[str]()
        task = fields(fields(answer).get("data"))
        task_id = str(task.get("task_id"))
        if is_accepted(exchange):
            found |= _open([bundle.pointer_of(operation)])
            if operation == "create_task":
                self._sent[task_id] = fields(exchange.asked)
            elif "request" in parts_of:
                found |= {*_used(parts_of["request"], exchange.asked)}
        if str(task.get("status")).lower() in _done_words() and task_id not in self._done:
            self._done.add(task_id)
            echo = {name: task[name] for name in ("model", "task_type", "input") if task.get(name) is not None}
            found |= {*self._of_task(self._sent.pop(task_id, echo), task)}
        self.places.update(found)

    def _of_task(self, body: dict[str, Any], task: dict[str, Any]) -> Iterator[str]:
        """Yield what a completed task confirms, given the body of its submission."""
        yield from _used(bundle.components_of("create_task")["request"], body)
        given = fields(body.get("input"))
        if (entry := bundle.entry_of(body.get("model"), body.get("task_type"), given)) is None:
            return
        name, bill = str(entry["name"]), prices.billed(task)
        self.types.setdefault(str(entry["family"]), set()).add(name)
        yield from _open([f"#/x-tasks/{name}"])
        price = prices.credits_of({**body, "input": {key: _as_long(value) for key, value in given.items()}})
        if price and price == bill:
            yield from _open([f"#/x-tasks/{name}/price"])
        elif bill and price and price < prices.MOST_CREDITS:
            usd = [f"${credit / prices.credits_per_usd():.4g}" for credit in (bill, price)]
            self.bills[f"a bill of {name} is {usd[0]}, and its price in the catalogue is {usd[1]}"] += 1


def learned(recording: Recording) -> Learned:
    """Read a recording."""
    facts = _Facts()
    for name, one in recording.files():
        if one is None:
            facts.incomplete.append(name)
        else:
            facts.add(one)
    found = [*differences(_Answered(recording), requests=True), *facts.content_types.values()]
    rows = list(_rows(facts, found))
    return Learned(
        f"{recording.folder}: {facts.number:,} exchanges with {recording.base_url} from {recording.started}",
        facts.number,
        rows,
        found,
        confirmed(recording, facts.number, facts.places),
        list(_notes(recording, facts)),
    )


class _Answered:
    """The exchanges that were not lost. Each iteration reads the files again, so many of them need no memory."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def __iter__(self) -> Iterator[Exchange]:
        return (_exchange(one) for one in self._recording.exchanges() if not one.lost)


def _exchange(one: Recorded) -> Exchange:
    return replace(one.exchange, sent=b"") if one.request.kind in FORMS else one.exchange


def confirmed(recording: Recording, exchanges: int, places: Mapping[str, int]) -> Confirmed:
    """Return what a recording confirms, with its name as a source."""
    day, simulated = recording.started[:10], "SIMULATED: " if is_local(recording) else ""
    page = f"{simulated}a recording of {exchanges} exchanges with {recording.base_url}"
    return Confirmed(f"recording-{day}", page, day, exchanges, dict(places))


def is_local(recording: Recording) -> bool:
    """Return whether the provider was on this machine, or a sandbox: the recording is no evidence about the API."""
    host = urlsplit(recording.base_url).hostname or ""
    servers = (one.response_headers.get("server") for one in recording.exchanges() if one.status is not None)
    return is_loopback(host) or host.endswith(".test") or next(servers, "") == SANDBOX


def _rows(facts: _Facts, found: Sequence[Difference]) -> Iterator[list[str]]:
    every = Counter(str(entry["family"]) for entry in bundle.entries().values())
    for group, statuses in sorted(facts.statuses.items()):
        seen = f"{len(facts.types.get(group, ()))} of {every[group]}" if group in every else "-"
        counts = ", ".join(f"{status} x{count:,}" for status, count in sorted(statuses.items()))
        yield [group, f"{statuses.total():,}", seen, counts, str(sum(group in one.families for one in found))]


def _notes(recording: Recording, facts: _Facts) -> Iterator[str]:
    if is_local(recording):
        yield SIMULATED
    if facts.incomplete:
        yield f"not read, because they are incomplete: {', '.join(facts.incomplete)}"
    if facts.lost:
        yield f"not compared, because they have no whole answer: {facts.lost} exchanges"
    if facts.places:
        words = Counter(_evidence(_node(place)) for place in facts.places)
        before = ", ".join(f"{count} {word}" for word, count in words.most_common())
        yield f"facts that this recording confirms: {len(facts.places)} (evidence before: {before})"
    yield from (f"{said} (tasks: {count})" for said, count in facts.bills.items())


def _used(component: str, body: Any) -> Iterator[str]:
    """Yield the facts that a body confirms."""
    if isinstance(body, dict):
        schemas = bundle.schemas()
        yield from _used_in(body, rules(schema_of(component, body, schemas), Place(""), body, schemas))


def _used_in(value: Any, found: list[Placed]) -> Iterator[str]:
    yield from (str(place) for place, rule in found if place.component and _is_open(rule))
    for step, part in parts(value):
        if part is not None:
            yield from _used_in(part, below(found, part, step, bundle.schemas()))


def _open(places: Sequence[str]) -> set[str]:
    return {place for place in places if _is_open(_node(place))}


def _is_open(rule: Mapping[str, Any]) -> bool:
    return "x-source" in rule and _evidence(rule) != "recorded"


def _evidence(rule: Mapping[str, Any]) -> str:
    """Return the surest evidence of a fact."""
    known = {bundle.document()["x-sources"][name]["evidence"] for name in items(rule.get("x-source"))}
    return next((word for word in ("recorded", "documented", "client") if word in known), "inferred")


def _node(place: str) -> Mapping[str, Any]:
    node: Any = {**bundle.document(), "x-tasks": bundle.entries()}
    for step in place.split("/")[1:]:
        node = node[int(step) if isinstance(node, list) else step.replace("~1", "/").replace("~0", "~")]
    return fields(node)


def _done_words() -> frozenset[str]:
    return frozenset(bundle.component("TaskStatus")["x-states"]["completed"]["words"])


def _as_long(value: Any) -> Any:
    """Return a text that is as long as a removed one was; its price depends on that."""
    return "x" * (removed(value) or 0) or value
