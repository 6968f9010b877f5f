"""Search the task of an uncertain submission: read the task history of that time, and poll each task in it.

ARCHITECTURE.md says what proves "found" and "absent"; everything else is "unclear". The time of the submission is
needed on the provider's clock, which the Date headers of its answers show. The age of a submission is what our
monotonic clock or our wall clock says, or anything between: the first stops while a computer sleeps, the second may be
set.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit, urlunsplit

from unitask_api import contract
from unitask_api.json_types import printable
from unitask_api.outputs import output_type as output_type_of

from .. import errors
from .._model._json import as_object
from .._model.account import HistoryRow
from .._model.task import Outcome, Output, Recovery, Task
from .._model.task_token import Fingerprint, SubmissionTime
from .._model.timestamp import Timestamp
from . import pagination, requests, retry
from .effects import Flow, Sleep
from .envelope import Dated
from .retry import Timeouts

CORRELATION_PARAMETER = "unitask"  # the query parameter of a webhook endpoint that holds the correlation id
CLOCKS_APART = 300.0  # seconds by which the provider's Date and the times in its history may differ
MORE_ROOM = 60.0  # seconds requested in addition, so that a small difference of clocks needs no second reading
SETTLED = 60.0  # seconds after which an accepted task is assumed to be in the history; no page states it
PAUSE = 10.0  # seconds between readings of the history
TIMES_READ = 3  # within one reading, while tasks come in or the time of the submission is unknown
LONGEST_READING = 120.0  # seconds that one reading may take beyond the time limit
MOST_ROWS = 5000  # of the history
MOST_POLLS = 200  # of tasks of the history


class ClientIdentity(NamedTuple):
    """The client that submits or searches."""

    process: str = ""  # clocks are compared only within one process
    account: str = ""  # a digest of its key and base_url, since another account has another history


class _Match(Enum):
    SAME = "same"
    ALIKE = "alike"  # its echoed input fits
    OPEN = "open"  # its answer does not decide
    OTHER = "other"


@dataclass(slots=True, eq=False)
class Submission:
    """How far a submission has got. It stays readable when the flow is interrupted at any point."""

    body: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    started: Timestamp | None = None  # when it was first sent; None before that
    in_doubt: bool = False  # whether the provider may have accepted it without an answer that names the task
    task_id: str | None = None  # the accepted task
    token: str = ""  # a random text, of this submission alone; its correlation id if the client made one
    client: ClientIdentity = field(default_factory=ClientIdentity)
    # Returns the last time that the provider reported, and when that was.
    dated: Callable[[], Dated | None] = lambda: None

    def uncertain(self, reason: str, at: Timestamp) -> errors.SubmissionUncertain:
        """Return the error of a submission that may have been accepted up to this moment."""
        sent, dated = SubmissionTime(self.started or at, at, self.client.process), self.dated()
        model, task_type, given = self.body["model"], self.body["task_type"], self.body["input"]
        identity = Fingerprint(
            model,
            task_type,
            _digest([model, task_type, given]),
            next(reversed(_marks_in(self.body)), None),
            {name: _digest(value) for name, value in given.items()},
            self.token,
            sent._replace(on_provider=None if dated is None else _placed(dated, sent)),
            self.client.account,
        )
        return errors.SubmissionUncertain(reason, identity=identity, sent_between=(sent.start.utc, sent.end.utc))


def with_correlation_id(body: dict[str, Any], mark: str) -> dict[str, Any]:
    """Return the body with a correlation id in the query of its webhook endpoint, if it has one."""
    config = as_object(body.get("config"))
    webhook = as_object(config.get("webhook_config"))
    endpoint = webhook.get("endpoint")
    if not isinstance(endpoint, str) or not endpoint:
        return body
    parts = urlsplit(endpoint)
    query = f"{parts.query}&{CORRELATION_PARAMETER}={mark}" if parts.query else f"{CORRELATION_PARAMETER}={mark}"
    changed = {**webhook, "endpoint": urlunsplit(parts._replace(query=query))}
    return {**body, "config": {**config, "webhook_config": changed}}


def submission_of(uncertain: errors.SubmissionUncertain) -> str:
    return uncertain.identity.submission or f"{uncertain.fingerprint} {uncertain.sent_between}"


def find(
    uncertain: errors.SubmissionUncertain,
    own: Mapping[str, str],
    limits: Timeouts,
    client: ClientIdentity,
) -> Flow[Recovery]:
    """Search until the outcome is known, or `limits.timeout`; `own` has the submission of each task of this client."""
    begun = (yield Sleep(0)).at
    patience = SETTLED + PAUSE if limits.timeout is None else limits.timeout
    search = _Search(uncertain, own, limits, client, begun.monotonic + patience + LONGEST_READING)
    while True:
        finding = yield from search.read()
        left = begun.monotonic + patience - (yield Sleep(0)).at.monotonic
        if finding.outcome is Outcome.FOUND or search.wait <= 0 or left <= 0:
            return finding
        yield Sleep(min(PAUSE, left, max(1.0, search.wait)))


@dataclass(slots=True)
class _Search:
    """Reads the history, several times if need be, and keeps what it learned."""

    uncertain: errors.SubmissionUncertain
    own: Mapping[str, str]
    limits: Timeouts
    client: ClientIdentity
    deadline: float
    window: tuple[float, float] | None = None  # of the submission, on the provider's clock
    known: dict[str, tuple[_Match, Task[Output]]] = field(default_factory=dict[str, "tuple[_Match, Task[Output]]"])
    polls: int = 0
    now: float = 0.0  # on the provider's clock, when the last reading began
    wait: float = 0.0  # seconds for which another reading may help

    @property
    def wanted(self) -> Fingerprint:
        return cast("Fingerprint", self.uncertain.identity)

    def read(self) -> Flow[Recovery]:
        named = yield from self._named()
        if named is not None:
            return named
        if self.wanted.model == requests.LEGACY:
            return Recovery(Outcome.UNCLEAR, "how the task history lists a legacy task is not documented")
        rows, doubt = yield from self._rows()
        finding = yield from self._compare(rows, doubt)
        if finding.outcome is Outcome.ABSENT:
            doubt = yield from self._add_newest(rows)
            finding = yield from self._compare(rows, doubt)
        return finding

    def _compare(self, rows: Sequence[HistoryRow], doubt: str) -> Flow[Recovery]:
        """Poll the task of each row, and decide; `doubt` says why rows may be missing, if they may."""
        alike: list[Task[Output]] = []
        unsaid: list[Task[Output]] = []
        unread = 0
        for row in sorted(rows, key=self._is_other_kind):
            task_id = row.task_id if _names_one_task(row) else None
            if task_id is not None and self._is_of_another(task_id):
                continue
            seen = None if task_id is None else (yield from self._poll(task_id))
            if seen is None:
                unread += 1
                continue
            match, task = seen
            if match is _Match.SAME:
                reason = f"task {printable(task.id)} has the correlation id of this submission"
                return Recovery(Outcome.FOUND, reason, task)
            if match is not _Match.OTHER:
                (alike if match is _Match.ALIKE else unsaid).append(task)
        alike, unsaid = ([task for task in tasks if not self._is_of_another(task.id)] for tasks in (alike, unsaid))
        return self._verdict(alike, unsaid, unread, doubt, len(rows))

    def _is_of_another(self, task_id: str) -> bool:
        submission = submission_of(self.uncertain)
        return self.own.get(task_id, submission) != submission

    def _named(self) -> Flow[Recovery | None]:
        """Return the task that an answer to the submission named, if it can be polled."""
        task_id, is_legacy = self.uncertain.task_id, self.wanted.model == requests.LEGACY
        if not task_id or self._is_of_another(task_id):
            return None
        output_type = output_type_of(self.wanted.model, self.wanted.task_type) if is_legacy else Output
        task = yield from retry.get_task(task_id, self.limits, output_type, self.deadline)
        if task is None or (not is_legacy and _match(task, self.wanted) is _Match.OTHER):
            return None
        return Recovery(Outcome.FOUND, f"an answer to the submission named task {printable(task_id)}", task)

    def _rows(self) -> Flow[tuple[list[HistoryRow], str]]:
        """Return the rows of that time, and why the task may be missing among them; empty if it cannot."""
        rows: list[HistoryRow] = []
        doubt = ""
        for _ in range(TIMES_READ):
            rows, now = [], (yield Sleep(0)).at
            asked = self._period(CLOCKS_APART + MORE_ROOM)
            query = requests.HistoryQuery(*asked)
            reading = pagination.HistoryReader(query, self.limits, self.deadline, is_proof=True)
            try:
                while len(rows) < MOST_ROWS and (page := (yield from reading.more())):
                    rows += page
                doubt = self._learn(reading.dates, now) or reading.shortfall
                start, end = self._period(CLOCKS_APART)
                is_covered = asked[0] <= start and asked[1] >= end
                if self.window is None or (is_covered and not doubt) or len(rows) >= MOST_ROWS:
                    break
                doubt = doubt or "the provider's clock jumps"
            except errors.UnitaskError as error:
                doubt, self.wait = f"the task history cannot be read: {error}", 0.0
                break
        return rows, doubt

    def _add_newest(self, rows: list[HistoryRow]) -> Flow[str]:
        """Add rows of that time that the history lists only without a filter; return what is wrong with its times."""
        try:
            newest = yield from pagination.HistoryReader(requests.HistoryQuery(), self.limits, self.deadline).more()
        except errors.UnitaskError as error:
            return f"the task history cannot be read: {error}"
        (start, end), seen = self._period(CLOCKS_APART), {row.task_id for row in rows}
        for row in newest:
            created = None if row.created_at is None else row.created_at.timestamp()
            if created is not None and created > self.now + CLOCKS_APART:
                return "the times in the history are not those of the provider's Date header"
            if created is not None and start <= created <= end and row.task_id not in seen:
                rows.append(row)
        return ""

    def _period(self, room: float) -> tuple[int, int]:
        """Return the time of the submission on the provider's clock, in whole unix seconds."""
        start, end = self.window or (moment.timestamp() for moment in self.uncertain.sent_between)
        return max(0, math.floor(start - room)), max(0, math.ceil(end + room))

    def _learn(self, dates: Sequence[Dated], began: Timestamp) -> str:
        """Learn from the dates of a reading when the submission was sent; return why that is unknown, if it is."""
        sent = self.wanted.sent
        self.wait = SETTLED - (began.unix - self.uncertain.sent_between[1].timestamp())  # as far as is known
        if not dates:
            return "the answers of the provider have no Date header, which is needed to compare times"
        self.now = dates[0][0]
        spans = [] if sent is None or sent.on_provider is None else [sent.on_provider]
        if sent is not None and sent.process == self.client.process:
            ours = [_placed(dated, sent) for dated in dates]
            spans.append((min(start for start, _ in ours), max(end for _, end in ours)))
        if not spans:
            return "another process sent the submission, and when that was is unknown on the provider's clock"
        start, end = max(start for start, _ in spans), min(end for _, end in spans)
        if start > end:
            return "the clocks contradict each other, so it is unknown when the submission was sent"
        before = self.window or (start, end)
        self.window = min(start, before[0]), max(end, before[1])
        self.wait = SETTLED - (self.now - self.window[1])
        return ""

    def _is_other_kind(self, row: HistoryRow) -> bool:
        """Whether the row names another model or task type; such a row is polled last."""
        detail = as_object(row.raw.get("detail"))
        given = ((detail.get("model"), self.wanted.model), (detail.get("workflow_type"), self.wanted.task_type))
        return any(isinstance(said, str) and _is_another(said, wanted) for said, wanted in given)

    def _poll(self, task_id: str) -> Flow[tuple[_Match, Task[Output]] | None]:
        """Poll a task; return whether it is the one, and the task; None when that is unknown."""
        known = self.known.get(task_id)
        if (known and known[0] is _Match.OTHER) or self.polls >= MOST_POLLS:
            return known
        self.polls += 1
        task = yield from retry.get_task(task_id, self.limits, deadline=self.deadline)
        if task is not None:
            self.known[task_id] = known = (_match(task, self.wanted), task)
        return known

    def _verdict(
        self, alike: Sequence[Task[Output]], unsaid: Sequence[Task[Output]], unread: int, doubt: str, rows: int
    ) -> Recovery:
        named, account = self.uncertain.task_id, self.wanted.account
        doubts = [
            f"tasks with this input: {len(alike)}; another submission can have had it too" if alike else "",
            f"tasks that may or may not be the one: {len(unsaid)}" if unsaid else "",
            f"tasks that could not be polled: {unread}" if unread else "",
            doubt,
            "this client has another key or base_url" if account and account != self.client.account else "",
            f"an answer to the submission named task {named}" if named else "",
            f"it may enter the history later: search again in {self.wait:.0f} s" if self.wait > 0 else "",
        ]
        if reason := "; ".join(filter(None, doubts)):
            return Recovery(Outcome.UNCLEAR, reason, candidates=(*alike, *unsaid))
        return Recovery(Outcome.ABSENT, f"each of the {rows} tasks of that time is another one")


def _placed(dated: Dated, sent: SubmissionTime) -> tuple[float, float]:
    """Return the earliest and the latest time of a submission on the provider's clock, which shows whole seconds."""
    date, at = dated
    spans = [(moment.monotonic - at.monotonic, moment.unix - at.unix) for moment in (sent.start, sent.end)]
    return date + min(map(min, spans)), date + 1.0 + max(map(max, spans))


def _names_one_task(row: HistoryRow) -> bool:
    given = (row.raw.get("task_id"), as_object(row.raw.get("detail")).get("task_id"))
    return len({name for name in given if isinstance(name, str) and name.strip()}) <= 1


def _match(task: Task[Output], wanted: Fingerprint) -> _Match:
    marks = _marks_in(task.raw)
    is_unique = wanted.correlation_id is not None and wanted.submission in ("", wanted.correlation_id)
    if is_unique and marks[-1:] == [wanted.correlation_id]:
        return _Match.SAME
    if any(_is_another_mark(mark, wanted.correlation_id) for mark in marks) and wanted.correlation_id not in marks:
        return _Match.OTHER
    if _is_another(task.model, wanted.model) or _is_another(task.task_type, wanted.task_type):
        return _Match.OTHER
    echo = as_object(task.raw.get("input"))
    known = [_digest(value) == wanted.fields[name] for name, value in echo.items() if name in wanted.fields]
    return _Match.ALIKE if known and all(known) else _Match.OPEN


def _is_another(said: str, wanted: str) -> bool:
    """Whether both names are in the catalogue, and neither is a part of the other."""
    first, second = _plain_name(said), _plain_name(wanted)
    return {first, second} <= _names() and first not in second and second not in first


def _plain_name(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


@cache
def _names() -> frozenset[str]:
    return frozenset(
        _plain_name(name) for entry in contract.task_types().values() for name in (entry.model, entry.task_type)
    )


def _is_another_mark(mark: str, wanted: str | None) -> bool:
    """Whether a correlation id is of another submission, and not ours cut short or hidden."""
    return mark.isalnum() and not (wanted or "").casefold().startswith(mark.casefold())


def _marks_in(task: Mapping[str, Any]) -> list[str]:
    endpoint = as_object(as_object(task.get("config")).get("webhook_config")).get("endpoint")
    try:
        return parse_qs(urlsplit(endpoint).query).get(CORRELATION_PARAMETER, []) if isinstance(endpoint, str) else []
    except ValueError:
        return []


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
