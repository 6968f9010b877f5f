"""What became of an uncertain create: the task history is read page by page, and each task of that time is looked at.

A task is recognised by a mark that its webhook endpoint carries (the API echoes `config`), or else by the echo of its
input. The echo may be empty, may lack fields and may have more (facts of 2026-11), so what it does not say is not held
against a task: such a task is a candidate, and the outcome is "unclear". Only a history that was read to its end, late
enough, without a candidate, says "absent". How the history lists a legacy task, if it does, no page says, so of such a
create it says nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from .. import errors
from ..task import Finding, Outcome, Output, Task
from . import asking, protocols
from .delivery import Limits
from .messages import Flow, Moment, Sleep
from .shapes import as_object, is_list, is_object, printable

if TYPE_CHECKING:
    from ..account import HistoryRow

MARK = "unitask"  # the query parameter of a webhook endpoint that holds the mark
CLOCKS_APART = 300.0  # seconds that our clock and the provider's may differ
SETTLED = 60.0  # seconds after which an accepted task is taken to be in the history; how fast it is, no page says
PAUSE = 10.0  # seconds between readings of the history
MOST_LOOKS = 200  # tasks of one window that are looked at


@dataclass(frozen=True, slots=True)
class Traces:
    """What an uncertain task can be recognised by; nothing of its content.

    Attributes:
        model: Its model.
        task_type: Its task type.
        fingerprint: SHA-256 over model, task type and input.
        mark: The random mark in its webhook endpoint; None when it has no webhook.
        fields: SHA-256 of each field of its input.
    """

    model: str
    task_type: str
    fingerprint: str
    mark: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


class _Likeness(Enum):
    SAME = "same"
    ALIKE = "alike"  # its echoed input fits
    OPEN = "open"  # its answer does not tell
    OTHER = "other"


def traces(body: Mapping[str, Any]) -> Traces:
    """What the task of a create can be recognised by."""
    model, task_type, given = body["model"], body["task_type"], body["input"]
    identity = json.dumps([model, task_type, given], sort_keys=True)
    return Traces(
        model,
        task_type,
        hashlib.sha256(identity.encode()).hexdigest(),
        _mark_in(body),
        {name: _digest(value) for name, value in given.items()},
    )


def marked(body: dict[str, Any], mark: str) -> dict[str, Any]:
    """The body with a mark in the query of its webhook endpoint, if it has one; else the body itself."""
    config = as_object(body.get("config"))
    webhook = as_object(config.get("webhook_config"))
    endpoint = webhook.get("endpoint")
    if not isinstance(endpoint, str) or not endpoint:
        return body
    parts = urlsplit(endpoint)
    query = f"{parts.query}&{MARK}={mark}" if parts.query else f"{MARK}={mark}"
    changed = {**webhook, "endpoint": urlunsplit(parts._replace(query=query))}
    return {**body, "config": {**config, "webhook_config": changed}}


def find(uncertain: errors.SubmissionUncertain, own: Collection[str], limits: Limits) -> Flow[Finding]:
    """Look for the task of an uncertain create until it can be told what became of it, or time is up.

    Args:
        uncertain: The error of the create.
        own: Ids of tasks that are known to be of other creates.
        limits: `timeout` is how long to go on reading the history while that may help; None as long as it may.
    """
    if uncertain.traces.model == protocols.LEGACY:
        return Finding(Outcome.UNCLEAR, "no page says how the task history lists a task of the legacy endpoints")
    now = (yield Sleep(0)).at
    started, settled = now, uncertain.sent_between[1].timestamp() + SETTLED
    looked: dict[str, _Likeness] = {}
    while True:
        try:
            finding = yield from _search(uncertain, own, limits, looked)
        except errors.UnitaskError as error:
            return Finding(Outcome.UNCLEAR, f"the task history cannot be read: {error}")
        now = (yield Sleep(0)).at
        early = now.unix < settled
        if finding.outcome is Outcome.FOUND or not early:
            return finding
        left = None if limits.timeout is None else limits.timeout - (now.ticks - started.ticks)
        if left is not None and left <= 0:
            return _too_early(finding, settled, now)
        pause = min(PAUSE, settled - now.unix)
        yield Sleep(pause if left is None else min(pause, left))


def _too_early(finding: Finding, settled: float, now: Moment) -> Finding:
    if finding.outcome is Outcome.UNCLEAR:
        return finding
    wait = f"it may come into the history later: look again in {settled - now.unix:.0f} s"
    return replace(finding, outcome=Outcome.UNCLEAR, reason=f"{finding.reason}, but {wait}")


def _search(
    uncertain: errors.SubmissionUncertain, own: Collection[str], limits: Limits, looked: dict[str, _Likeness]
) -> Flow[Finding]:
    """Read the history of that time once, to its end."""
    start, end = (moment.timestamp() for moment in uncertain.sent_between)
    query = asking.Query(start=int(start - CLOCKS_APART), end=int(end + CLOCKS_APART) + 1)
    alike: list[Task[Output]] = []
    unsaid: list[Task[Output]] = []
    unread = 0
    reading, read = asking.Reading(query, limits), 0
    while rows := (yield from reading.more()):
        read += len(rows)
        for task_id in (row.task_id for row in rows if _may_be(row, uncertain.traces)):
            if task_id is None or task_id in own or looked.get(task_id) is _Likeness.OTHER:
                continue
            task = (yield from asking.look(task_id, limits)) if len(looked) < MOST_LOOKS else None
            if task is None:
                unread += 1
                continue
            looked[task_id] = likeness = _likeness(task, uncertain.traces)
            if likeness is _Likeness.SAME:
                return Finding(Outcome.FOUND, f"task {task_id} carries the mark of this create", task)
            if likeness is not _Likeness.OTHER:
                (alike if likeness is _Likeness.ALIKE else unsaid).append(task)
    return _verdict(alike, unsaid, unread, read)


def _verdict(alike: list[Task[Output]], unsaid: list[Task[Output]], unread: int, rows: int) -> Finding:
    if len(alike) == 1 and not unsaid and not unread:
        return Finding(
            Outcome.FOUND, f"task {printable(alike[0].id)} is the only one of that time with this input", alike[0]
        )
    candidates = (*alike, *unsaid)
    if candidates or unread:
        parts = (
            (len(alike), "with this input"),
            (len(unsaid), "whose answer does not show the input"),
            (unread, "that could not be looked at"),
        )
        said = ", ".join(f"{number} {words}" for number, words in parts if number)
        reason = f"of the tasks of that time, model and task type, there are {said}"
        return Finding(Outcome.UNCLEAR, reason, candidates=candidates)
    return Finding(Outcome.ABSENT, f"none of the {rows} tasks of that time is the one")


def _may_be(row: HistoryRow, wanted: Traces) -> bool:
    """Whether what the row says of model and task type, if it does, fits."""
    detail = as_object(row.raw.get("detail"))
    fits = detail.get("model") in (None, "", wanted.model)
    return fits and detail.get("workflow_type") in (None, "", wanted.task_type)


def _likeness(task: Task[Output], wanted: Traces) -> _Likeness:
    if (task.model and task.model != wanted.model) or (task.task_type and task.task_type != wanted.task_type):
        return _Likeness.OTHER
    mark = _mark_in(task.raw)
    if mark is not None:
        return _Likeness.SAME if mark == wanted.mark else _Likeness.OTHER
    echo = {name: value for name, value in as_object(task.raw.get("input")).items() if value not in _ZERO}
    known = [(_digest(value), wanted.fields[name]) for name, value in echo.items() if name in wanted.fields]
    if not known:
        return _Likeness.OPEN
    if all(echoed == sent for echoed, sent in known):
        return _Likeness.ALIKE
    differing = {name for name in echo if name in wanted.fields and _digest(echo[name]) != wanted.fields[name]}
    return _Likeness.OPEN if all(_is_address(echo[name]) for name in differing) else _Likeness.OTHER


_ZERO: tuple[Any, ...] = (None, "", 0, False, [], {})  # what the echo shows for a field that was not sent


def _is_address(value: object) -> bool:
    """Whether the echo is the address of a file: the provider may store a picture elsewhere before it echoes it."""
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _mark_in(task: Mapping[str, Any]) -> str | None:
    endpoint = as_object(as_object(task.get("config")).get("webhook_config")).get("endpoint")
    try:
        found = parse_qs(urlsplit(endpoint).query).get(MARK) if isinstance(endpoint, str) else None
    except ValueError:
        return None
    return found[-1] if found else None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()


def _plain(value: object) -> object:
    """The value with whole numbers in one form, since 1 may come back as 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if is_list(value):
        return [_plain(item) for item in value]
    if is_object(value):
        return {name: _plain(item) for name, item in value.items()}
    return value
