"""Check exchanges against the contract while they pass, each difference once, and add up what was billed.

A body that the compiled validators allow, and whose form was seen before, has no new difference. Everything else is
compared with the spec as by `unitask contract --body`, which takes some milliseconds.
"""

import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from functools import cache, lru_cache
from typing import Any, cast

from jsonschema_rs import ValidationError
from unitask_api import contract
from unitask_contract import bundle, prices
from unitask_contract.bundle import fields
from unitask_contract.exchange import Exchange
from unitask_contract.hiding import visible
from unitask_contract.patches.proposals import Difference, Kind, differences
from unitask_contract.patches.redaction import names
from unitask_contract.recording.folder import OTHER, Recorded
from unitask_contract.recording.texts import LONGEST_WORD

MOST_FORMS = 4096  # of bodies, and violations, that are remembered
MOST_TASKS = 16_384  # whose bills are remembered: a task that is polled again later counts twice
MOST_DIFFERENCES = 1000  # that are reported
NO_ANSWER = "no answer"
_NO_WORD = re.compile(r"\(|https?:|\d{4}-\d\d|[0-9a-f]{8}-|removed-|.*\s", re.DOTALL)


class Check:
    """Checks the exchanges of a recording; any thread may call it."""

    def __init__(self) -> None:
        self.compared = 0  # exchanges that were compared with the spec in full
        self._counts = Counter[tuple[str, str]]()  # by family and status
        self._forms = _Memo(MOST_FORMS)
        self._violations = _Memo(MOST_FORMS)
        self._reported = dict[Hashable, Kind]()
        self._broken = False
        self._accepted = _Memo(MOST_FORMS)  # tasks that the spec refuses, and that have not failed
        self._bills = OrderedDict[str, tuple[int, bool]]()  # by task: credits, and whether its end was seen
        self._credits, self._tasks = Counter[bool](), Counter[bool]()  # by whether the end of the tasks was seen
        self._lost = 0
        self._lock = threading.Lock()

    @property
    def is_broken(self) -> bool:
        """Whether an answer broke the contract, or a request was carried out that the spec refuses."""
        return self._broken or bool(self._accepted)

    def lines(self, recorded: Recorded) -> list[str]:
        """Check an exchange, and return a line for each difference that was not there before."""
        task = _task(recorded)
        with self._lock:
            self._add(recorded, task)
        if recorded.lost or recorded.status is None:
            return []
        refused = _violations(_sent(recorded))
        violations = refused + _violations(_received(recorded, task))
        form = _form_of(recorded)
        with self._lock:
            self._add_request(recorded, task, is_refused=bool(refused))
            may_differ = self._forms.add(form) | self._violations.add(*violations)
            self.compared += may_differ
        if not may_differ:
            return []
        exchange = recorded.exchange
        found = [*differences([exchange], requests=True), *content_type(recorded, exchange)]
        with self._lock:
            return [line for one in found if (line := self._report(one, recorded, task))]

    def summary(self) -> list[str]:
        """Return what passed: exchanges by family and status, differences, what was billed, and what was lost."""
        total = sum(self._counts.values())
        found = [f"{total} exchange{'s' * (total != 1)}"]
        for family in sorted({family for family, _ in self._counts}):
            statuses = sorted((status, number) for (name, status), number in self._counts.items() if name == family)
            found.append(f"  {family}: {', '.join(f'{number} x {status}' for status, number in statuses)}")
        kinds = Counter(self._reported.values())
        said = ", ".join(f"{kinds[kind]} {kind}" for kind in Kind if kinds[kind])
        more = " or more" if len(self._reported) == MOST_DIFFERENCES else ""
        found.append(f"differences from the contract: {said}{more}" if said else "no difference from the contract")
        found.append(f"billed: {self._bill(has_ended=True)}")
        if self._tasks[False]:
            found.append(f"billed beforehand: {self._bill(has_ended=False)} of which no end was seen")
        return [*found, f"lost: {self._lost}, without an answer or a whole one"] if self._lost else found

    # Differences.

    def _add(self, recorded: Recorded, task: dict[str, Any]) -> None:
        """Count an exchange."""
        status = NO_ANSWER if recorded.status is None else str(recorded.status)
        self._counts[_family(recorded, task), status] += 1
        self._lost += bool(recorded.lost)
        self._add_bill(task)

    def _add_request(self, recorded: Recorded, task: dict[str, Any], *, is_refused: bool) -> None:
        """Remember a task whose request the spec refuses, until it fails."""
        is_create = recorded.operation == "create_task" and recorded.request.form == "json"
        if task.get("task_id") and (is_refused or (is_create and not _task_type(recorded))):
            self._broken |= len(self._accepted) == MOST_FORMS
            self._accepted.add(str(task["task_id"]))
        if str(task.get("status")).lower() == "failed":
            self._accepted.pop(str(task.get("task_id")), None)

    def _report(self, one: Difference, recorded: Recorded, task: dict[str, Any]) -> str:
        """Count a difference, and return its line; nothing if it was reported before."""
        name: Hashable = one.came if one.kind is Kind.NEW_WORD or one.says.startswith("required") else ""
        key = (one.kind, one.key, one.where.rpartition("/")[2] if one.kind is Kind.NEW_FIELD else name)
        self._broken |= not one.kind.is_new and not (one.part == "request" and "task_id" in task)
        if key in self._reported or len(self._reported) >= MOST_DIFFERENCES:
            return ""
        self._reported[key] = one.kind
        return visible(f"{one.kind}: {one}")

    # Money.

    def _add_bill(self, task: dict[str, Any]) -> None:
        credit, task_id = prices.billed(task), task.get("task_id")
        if not task_id or credit is None:
            return
        bill = credit, str(task.get("status")).lower() in _ended()
        before = self._bills.pop(str(task_id), (0, False))
        self._bills[str(task_id)] = bill
        for sign, (amount, has_ended) in ((-1, before), (1, bill)):
            self._credits[has_ended] += sign * amount
            self._tasks[has_ended] += sign * (amount > 0)
        if len(self._bills) > MOST_TASKS:
            self._bills.popitem(last=False)

    def _bill(self, *, has_ended: bool) -> str:
        usd, tasks = self._credits[has_ended] / prices.credits_per_usd(), self._tasks[has_ended]
        return f"${usd:.7g} for {tasks} task{'s' * (tasks != 1)}"


class _Memo(dict[Hashable, None]):
    """Remembers so many values; the oldest ones are forgotten."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def add(self, *values: Hashable) -> bool:
        """Add values, and return whether one of them is new."""
        new = [value for value in values if value not in self]
        for value in new:
            self[value] = None
            if len(self) > self._most:
                del self[next(iter(self))]
        return bool(new)


@cache
def _ended() -> frozenset[str]:
    """Return the words for the end of a task."""
    states = bundle.component("TaskStatus")["x-states"].values()
    return frozenset(word for rule in states for word in rule["words"] if rule["phase"] == "ended")


def _task(recorded: Recorded) -> dict[str, Any]:
    """Return the task in an answer; empty without one."""
    return fields(fields(recorded.response.content).get("data")) if recorded.response.form == "json" else {}


def _family(recorded: Recorded, task: dict[str, Any]) -> str:
    for given in (task, fields(recorded.request.content)):
        if found := contract.named(given.get("model"), given.get("task_type")):
            return found[0].family
    return bundle.family_of(recorded.operation) if recorded.operation else OTHER


def _violations(parts: Iterable[tuple[str, Any]]) -> list[Hashable]:
    """Return how values break their components."""
    found: list[Hashable] = []
    for component, value in parts:
        validator = bundle.validator(component)
        try:
            if not validator.is_valid(value):
                found += [(component, _violation(error)) for error in validator.iter_errors(value)]
        except ValueError:  # a lone surrogate
            found += [(component, _violation(error)) for error in validator.iter_errors(bundle.whole(value))]
    return found


def _sent(recorded: Recorded) -> Iterator[tuple[str, Any]]:
    """Yield the components and values of a request."""
    component = _components(recorded.operation).get("request")
    if component and recorded.request.form == "json":
        yield component, recorded.request.content
        if task_type := _task_type(recorded):
            yield task_type.input, fields(recorded.request.content).get("input")


def _task_type(recorded: Recorded) -> contract.TaskType | None:
    given = fields(recorded.request.content)
    if recorded.operation != "create_task":
        return None
    return contract.find(given.get("model"), given.get("task_type"), given.get("input"))


def _received(recorded: Recorded, task: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the components and values of an answer."""
    name = _components(recorded.operation).get("200" if recorded.status == 200 else "default")
    if name is None or recorded.response.form != "json":
        return
    yield name, recorded.response.content
    if task.get("output") is not None:
        names_of = bundle.outputs_of(task.get("model"), task.get("task_type"))
        is_one = len(names_of) > 1 and any(bundle.allows(one, task["output"]) for one in names_of)
        yield from () if is_one else ((one, task["output"]) for one in names_of)
    for pointer, output in bundle.legacy_outputs(name):
        place = f"{output}/properties/{pointer.rpartition('/')[2]}"
        if (value := bundle.at(recorded.response.content, pointer, ...)) is not ... and _exists(place):
            yield place, value


@cache
def _components(operation: str) -> dict[str, str]:
    return dict(bundle.components_of(operation)) if operation else {}


@cache
def _exists(place: str) -> bool:
    component, _, name = place.partition("/properties/")
    return name in bundle.component(component).get("properties", {})


def _violation(error: ValidationError) -> Hashable:
    """Return what the violations of one rule by values of one type have in common."""
    kind = cast("Any", error.kind)
    inner = tuple(tuple(map(_violation, branch)) for branch in getattr(kind, "context", ()))
    return str(error.evaluation_path), kind.name, getattr(kind, "property", ""), type(error.instance).__name__, inner


def _form_of(recorded: Recorded) -> int:
    """Return the hash of the form of an exchange; the form of a large body is large."""
    form = (recorded.operation or recorded.path, recorded.method, recorded.status, recorded.response.kind)
    contents = (_form(recorded.request.content), recorded.response.form, _form(recorded.response.content))
    return hash((*form, *contents))


def _form(value: Any) -> Hashable:
    """Return the form of a redacted JSON value: names, types and words."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_WORD and not _NO_WORD.match(value) else "(text)"
    if isinstance(value, dict):
        known, parts = names(), cast("dict[str, Any]", value).items()
        return tuple([(step if step in known else _name(step), _form(part)) for step, part in parts])
    if isinstance(value, list):
        return frozenset([_form(part) for part in cast("list[object]", value)])
    return type(value).__name__


@lru_cache(MOST_FORMS)
def _name(step: str) -> str:
    return step if not _NO_WORD.match(step) else "*"


def content_type(recorded: Recorded, exchange: Exchange) -> Iterator[Difference]:
    """Yield the content type of a JSON body, if the spec has another one."""
    if not recorded.operation or recorded.response.form != "json" or recorded.response.kind == "application/json":
        return
    came = recorded.response.kind or "none"
    key = recorded.operation, f"{exchange.part} {came}"
    says = "content type application/json"
    yield Difference(
        Kind.UNDOCUMENTED, recorded.operation, exchange.part, exchange.family, says, came, key=key, file=exchange.file
    )
