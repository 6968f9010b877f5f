"""Search the tasks of uncertain submissions: read the task history of that time, and poll each task in it.

Many are searched in one reading: a task is polled once, and compared with all of them. ARCHITECTURE.md says what proves
"found" and "absent"; everything else is "unclear". The time of a submission is needed on the provider's clock, which
the Date headers of its answers show. The age of a submission is what our monotonic clock or our wall clock says, or
anything between: the first stops while a computer sleeps, the second may be set.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit, urlunsplit

from unitask_api.json_types import printable
from unitask_api.outputs import output_type as output_type_of

from .. import errors
from .._model._json import as_object
from .._model.account import HistoryRow
from .._model.task import Outcome, Output, Recovery, Task
from .._model.task_token import Fingerprint, SubmissionTime
from .._model.timestamp import LATEST, Timestamp
from . import pagination, requests, retry
from .effects import Flow, Sleep
from .envelope import Dated
from .matching import CORRELATION_PARAMETER, Match, Seen, compare, digest, echoed, has_whole_input, is_another, marks_in
from .retry import Timeouts

CLOCKS_APART = 300.0  # seconds by which the provider's Date and the times in its history may differ
MORE_ROOM = 60.0  # seconds requested in addition, so that a small difference of clocks needs no second reading
SETTLED = 60.0  # seconds after which an accepted task is assumed to be in the history; no page states it
PAUSE = 10.0  # seconds between readings of the history
TIMES_READ = 3  # within one reading, while tasks come in or the time of the submission is unknown
LONGEST_READING = 120.0  # seconds that one reading may take beyond the time limit; more if the client has many tasks
MOST_ROWS = 5000  # of the history, besides those of the client's own tasks
MOST_POLLS = 1000  # of tasks of the history, for each submission that is searched
OWN_POLLS = 10  # of tasks of this client that should be in the history, in one reading


class ClientIdentity(NamedTuple):
    """The client that submits or searches."""

    process: str = ""  # clocks are compared only within one process
    account: str = ""  # a digest of its key and base_url, since another account has another history


@dataclass(slots=True, eq=False)
class Submission:
    """How far a submission has got. It stays readable when the flow is interrupted at any point."""

    body: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    started: Timestamp | None = None  # when it was first sent; None before that
    in_doubt: bool = False  # whether the provider may have accepted it without an answer that names the task
    task_id: str | None = None  # the accepted task
    token: str = ""  # a random text, of this submission alone; its correlation id if the client made one
    client: ClientIdentity = field(default_factory=ClientIdentity)
    check: Callable[[], object] | None = None  # see `SendRequest`
    before_sending: "list[Callable[[], Flow[None]]]" = field(default_factory=list[Any])  # once; an error sends nothing
    # Returns the last time that the provider reported, and when that was.
    dated: Callable[[], Dated | None] = lambda: None

    def uncertain(self, reason: str, at: Timestamp) -> errors.SubmissionUncertain:
        """Return the error of a submission that may have been accepted up to this moment."""
        sent, dated = SubmissionTime(self.started or at, at, self.client.process), self.dated()
        sent = sent._replace(on_provider=None if dated is None else _placed(dated, sent))
        identity = _fingerprint(
            *_kind(self.body), self.correlation_id, _digests(self.body), self.token, sent, self.client.account
        )
        return errors.SubmissionUncertain(reason, identity=identity, sent_between=(sent.start.utc, sent.end.utc))

    @property
    def correlation_id(self) -> str | None:
        """The correlation id in the webhook endpoint of the body."""
        return next(reversed(marks_in(self.body)), None)

    def to_json(self, at: Timestamp) -> str:
        """Return what `from_json` needs in a later process, just before the submission is sent.

        It has digests of the input, since the body cannot be made again: its files may be others then, or gone.
        """
        dated = self.dated()
        earliest = None if dated is None else _placed(dated, SubmissionTime(at, at))[0]
        fields = _digests(self.body)
        return json.dumps([self.token, self.correlation_id, at.unix, earliest, self.client.account, fields])


def from_json(
    text: str,
    model: str,
    task_type: str,
    at: Timestamp,
    dated: Dated | None,
    process: str,
    sent_before: tuple[float, float] | None = None,
) -> errors.SubmissionUncertain:
    """Return the error of a submission that a process, which has ended before `at`, may have sent.

    `dated` is the last time that the provider has reported to this process;
    `sent_before` is what an earlier search has returned as `latest`.
    """
    try:
        token, mark, unix, earliest, account, fields = json.loads(text)
        start = Timestamp(0.0, float(unix))
        latest = LATEST if dated is None else _placed(dated, SubmissionTime(at, at))[1]
        until, latest = sent_before or (at.unix, latest)
        span = None if earliest is None else (float(earliest), latest)
    except (TypeError, ValueError) as error:
        raise errors.JournalError(f"the journal has an intent that cannot be read: {text!r:.80}") from error
    # of the clocks of this process it is known that the submission was sent before `at`
    sent = SubmissionTime(Timestamp(-LATEST, -LATEST), at, "a former one" if span is None else process, span)
    identity = _fingerprint(model, task_type, mark, fields, token, sent, account)
    return errors.SubmissionUncertain(
        "its process ended", identity=identity, sent_between=(start.utc, Timestamp(0.0, until).utc)
    )


def latest(uncertain: errors.SubmissionUncertain) -> tuple[float, float] | None:
    """Return when a submission was sent at the latest, on our clock and on the provider's; None before a search."""
    sent = uncertain.identity.sent
    if sent is None or sent.on_provider is None:
        return None
    return uncertain.sent_between[1].timestamp(), sent.on_provider[1]


def _digests(body: Mapping[str, Any]) -> dict[str, str]:
    return {name: digest(value) for name, value in body["input"].items()}


def _kind(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["model"], body["task_type"]


def _fingerprint(
    model: str,
    task_type: str,
    mark: str | None,
    fields: Mapping[str, str],
    token: str = "",
    sent: SubmissionTime | None = None,
    account: str = "",
) -> Fingerprint:
    return Fingerprint(model, task_type, digest([model, task_type, fields]), mark, fields, token, sent, account)


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
    uncertain: errors.SubmissionUncertain, own: Mapping[str, str], limits: Timeouts, client: ClientIdentity
) -> Flow[Recovery]:
    """Search one submission, like `find_many`."""
    return (yield from find_many([uncertain], own, limits, client))[0]


def find_many(
    uncertains: Sequence[errors.SubmissionUncertain],
    own: Mapping[str, str],
    limits: Timeouts,
    client: ClientIdentity,
    sending: Mapping[Any, Submission] | None = None,
) -> Flow[list[Recovery]]:
    """Search until each outcome is known, or `limits.timeout`; return them in the order of the submissions.

    `own` has the submission of each task of this client; a task of another submission than these is not polled.
    `sending` has submissions whose task is not known yet, these included.
    """
    begun = (yield Sleep(0)).at
    patience = SETTLED + PAUSE if limits.timeout is None else limits.timeout
    longest = LONGEST_READING * (1 + len(own) / MOST_ROWS) + len(uncertains)
    wanted = [_Wanted(uncertain, client) for uncertain in uncertains]
    recent = list(own)[max(0, len(own) - OWN_POLLS) :]
    search = _Search(wanted, own, limits, begun.monotonic + patience + longest, sending or {}, recent)
    while True:
        began = (yield Sleep(0)).at.monotonic
        yield from search.read([one for one in wanted if one.is_open])
        left = begun.monotonic + patience - (yield Sleep(0)).at.monotonic
        wait = max((one.wait for one in wanted if one.is_open), default=0.0)
        # without a limit of the caller's, the last reading begins after that time, however long the others took
        if wait <= 0 or (left <= 0 and (limits.timeout is not None or began >= begun.monotonic + patience)):
            for one in wanted:
                one.keep_window()
            return [one.recovery for one in wanted]
        yield Sleep(max(0.0, min(PAUSE, left, max(1.0, wait))))


def adopt(recoveries: Sequence[Recovery]) -> list[Task[Output] | None]:
    """Return a task for each submission that has one: the one that was found, else one with the whole input.

    No task is returned twice.
    """
    taken = {recovery.task.id for recovery in recoveries if recovery.task is not None}
    tasks: list[Task[Output] | None] = []
    for recovery in recoveries:
        fitting = (task for task in recovery.candidates[: recovery.fitting] if task.id not in taken)
        tasks.append(recovery.task or next(fitting, None))
        taken.update(task.id for task in tasks[-1:] if task is not None)
    return tasks


@dataclass(slots=True, eq=False)
class _Wanted:
    """A submission that is searched, and what was learned about it."""

    uncertain: errors.SubmissionUncertain
    client: ClientIdentity
    recovery: Recovery = field(default_factory=lambda: Recovery(Outcome.UNCLEAR, "no time was left"))
    window: tuple[float, float] | None = None  # of the submission, on the provider's clock
    wait: float = math.inf  # seconds for which another reading may help
    doubt: str = ""  # why its task may be missing in the rows

    @property
    def identity(self) -> Fingerprint:
        return cast("Fingerprint", self.uncertain.identity)

    @property
    def is_missing(self) -> bool:
        return self.recovery.outcome is not Outcome.FOUND

    @property
    def is_open(self) -> bool:
        return self.is_missing and self.wait > 0

    def period(self, room: float) -> tuple[int, int]:
        """Return the time of the submission on the provider's clock, in whole unix seconds."""
        # sorted: our clock may have been set back since an earlier process sent the submission
        start, end = self.window or sorted(moment.timestamp() for moment in self.uncertain.sent_between)
        return max(0, math.floor(start - room)), max(0, math.ceil(end + room))

    def learn(self, dates: Sequence[Dated], began: Timestamp) -> str:
        """Learn from the dates of a reading when the submission was sent; return why that is unknown, if it is."""
        sent = self.identity.sent
        self.wait = SETTLED - (began.unix - self.uncertain.sent_between[1].timestamp())  # as far as is known
        if not dates:
            return "the answers of the provider have no Date header, which is needed to compare times"
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
        self.wait = SETTLED - (dates[0][0] - self.window[1])
        return ""

    def keep_window(self) -> None:
        """Let the error say when its submission was sent, so that later searches do not search more time."""
        sent = self.identity.sent
        if sent is not None and self.window is not None:
            self.uncertain.identity = replace(self.identity, sent=sent._replace(on_provider=self.window))

    def is_other_kind(self, row: HistoryRow) -> bool:
        """Whether the row names another model or task type; such a row is polled last."""
        detail = as_object(row.raw.get("detail"))
        given = ((detail.get("model"), self.identity.model), (detail.get("workflow_type"), self.identity.task_type))
        return any(isinstance(said, str) and is_another(said, wanted) for said, wanted in given)

    def decide(self, alike: Sequence[Seen], unsaid: Sequence[Seen], unread: int, rows: int) -> None:
        named, account = self.uncertain.task_id, self.identity.account
        doubts = [
            f"tasks with this input: {len(alike)}; another submission can have had it too" if alike else "",
            f"tasks that may or may not be the one: {len(unsaid)}" if unsaid else "",
            f"tasks that could not be polled: {unread}" if unread else "",
            self.doubt,
            "this client has another key or base_url" if account and account != self.client.account else "",
            f"an answer to the submission named task {named}" if named else "",
            f"it may enter the history later: search again in {self.wait:.0f} s" if self.wait > 0 else "",
        ]
        if reason := "; ".join(filter(None, doubts)):
            candidates = tuple(seen.task for seen in (*alike, *unsaid))
            fitting = sum(_is_for_adoption(seen, self) for seen in alike)
            self.recovery = Recovery(Outcome.UNCLEAR, reason, candidates=candidates, fitting=fitting)
        else:
            self.recovery = Recovery(Outcome.ABSENT, f"each of the {rows} tasks of that time is another one")


@dataclass(slots=True, eq=False)
class _Search:
    """Reads the history, several times if need be, and keeps what it learned."""

    wanted: Sequence[_Wanted]
    own: Mapping[str, str]
    limits: Timeouts
    deadline: float
    sending: Mapping[Any, Submission]
    recent: Sequence[str]  # the last tasks of this client before the search, mostly of the time of these submissions
    others: set[str] = field(default_factory=set[str])  # ids of tasks that are certainly none of these
    known: dict[str, Seen] = field(default_factory=dict[str, Seen])
    listed: set[str | None] = field(default_factory=set[str | None])  # ids of tasks in the history
    polls: int = 0
    now: float = 0.0  # on the provider's clock, when the last reading began

    def read(self, wanted: Sequence[_Wanted]) -> Flow[None]:
        """Read the history once, and decide about each of these submissions."""
        for one in wanted:
            yield from self._named(one)
            if one.identity.model == requests.LEGACY and one.is_open:
                reason, one.wait = "how the task history lists a legacy task is not documented", 0.0
                one.recovery = Recovery(Outcome.UNCLEAR, reason)
        wanted = [one for one in wanted if one.is_open]
        if not wanted:
            return
        rows = yield from self._rows(wanted)
        yield from self._compare(wanted, rows)
        absent = [one for one in wanted if one.recovery.outcome is Outcome.ABSENT]
        if absent:
            doubt = yield from self._add_newest(rows, absent)
            late = "" if doubt else (yield from self._unlisted(absent))
            for one in absent:
                one.doubt, one.wait = doubt or late, max(one.wait, PAUSE if late else 0.0)
            yield from self._compare(absent, rows)

    def _compare(self, wanted: Sequence[_Wanted], rows: Sequence[HistoryRow]) -> Flow[None]:
        """Poll the task of each row, and decide."""
        seen_tasks: list[Seen] = []
        unread = 0
        for row in sorted(rows, key=lambda row: all(one.is_other_kind(row) for one in wanted)):
            task_id = row.task_id if _names_one_task(row) else None
            if task_id in self.others or self._is_own(row, wanted):
                continue
            seen = None if task_id is None else (yield from self._poll(task_id))
            if seen is None:
                unread += 1
                continue
            open_for = [one for one in self.wanted if one.is_missing and self._match(seen, one) is not Match.OTHER]
            same = next((one for one in open_for if self._match(seen, one) is Match.SAME), None)
            if same is not None:
                reason = f"task {printable(seen.task.id)} has the correlation id of this submission"
                same.recovery = Recovery(Outcome.FOUND, reason, seen.task)
            if same is not None or not open_for:
                self.others.add(seen.task.id)
                self.known.pop(seen.task.id, None)
            else:
                seen_tasks.append(seen)
            if not any(one.is_missing for one in wanted):
                return
        reserved = set[tuple[str, str]]()  # of submissions with the same input, each can have made one of the tasks
        unclear = [one for one in self.wanted if one in wanted or one.recovery.outcome is Outcome.UNCLEAR]
        for one in (one for one in unclear if one.is_missing):
            alike = [seen for seen in seen_tasks if self._match(seen, one) is Match.ALIKE]
            unsaid = [seen for seen in seen_tasks if self._match(seen, one) is Match.OPEN]
            alike = [seen for seen in alike if (one.identity.fingerprint, seen.task.id) not in reserved]
            alike.sort(key=lambda seen: not _is_for_adoption(seen, one))
            reserved.update((one.identity.fingerprint, seen.task.id) for seen in alike[:1])
            if one in wanted:
                one.decide(alike, unsaid, unread, len(rows))

    def _match(self, seen: Seen, one: _Wanted) -> Match:
        """Compare a task with a submission; one with another input, which is that of another submission, is not it."""
        if self._is_of_another(seen.task.id, one):
            return Match.OTHER
        match = compare(seen, one.identity)
        contradicts = match is Match.OPEN and echoed(seen, one.identity)
        return Match.OTHER if contradicts and seen.fits else match

    def _is_of_another(self, task_id: str, one: _Wanted) -> bool:
        submission = submission_of(one.uncertain)
        return self.own.get(task_id, submission) != submission

    def _named(self, one: _Wanted) -> Flow[None]:
        """Find the task that an answer to the submission named, if it can be polled."""
        task_id, is_legacy = one.uncertain.task_id, one.identity.model == requests.LEGACY
        if not task_id or task_id in self.others or self._is_of_another(task_id, one):
            return
        output_type = output_type_of(one.identity.model, one.identity.task_type) if is_legacy else Output
        task = yield from retry.get_task(task_id, self.limits, output_type, self.deadline)
        if task is not None and (is_legacy or compare(self._seen(task), one.identity) is not Match.OTHER):
            self.others.add(task_id)
            reason = f"an answer to the submission named task {printable(task_id)}"
            one.recovery = Recovery(Outcome.FOUND, reason, task)

    def _rows(self, wanted: Sequence[_Wanted]) -> Flow[list[HistoryRow]]:
        """Return the rows of that time, and learn why a task may be missing among them."""
        rows: list[HistoryRow] = []
        for _ in range(TIMES_READ):
            rows, now = [], (yield Sleep(0)).at
            asked = _joint(wanted, CLOCKS_APART + MORE_ROOM)
            query = requests.HistoryQuery(*asked)
            reading = pagination.HistoryReader(query, self.limits, self.deadline, is_proof=True)
            try:
                while len(rows) < MOST_ROWS and (page := (yield from reading.more())):
                    rows += self._foreign(page, wanted)
                if reading.shortfall and len(rows) < MOST_ROWS:  # tasks may be submitted all the time
                    rows += self._foreign((yield from reading.again()), wanted)
            except errors.UnitaskError as error:
                for one in wanted:
                    one.doubt, one.wait = f"the task history cannot be read: {error}", 0.0
                break
            self.now = reading.dates[0][0] if reading.dates else self.now
            is_enough = True
            for one in wanted:
                one.doubt = one.learn(reading.dates, now) or reading.shortfall
                start, end = one.period(CLOCKS_APART)
                is_covered = asked[0] <= start and asked[1] >= end
                if one.window is not None and (not is_covered or one.doubt):
                    is_enough, one.doubt = False, one.doubt or "the provider's clock jumps"
            if is_enough or len(rows) >= MOST_ROWS:
                break
        return rows

    def _foreign(self, page: Sequence[HistoryRow], wanted: Sequence[_Wanted]) -> list[HistoryRow]:
        """Return the rows that are not of other submissions of this client."""
        self.listed.update(row.task_id for row in page)
        return [row for row in page if not self._is_own(row, wanted)]

    def _unlisted(self, wanted: Sequence[_Wanted]) -> Flow[str]:
        """Return a doubt if the history lacks a task of this client from that time: it may lack the one as well."""
        start, end = _joint(wanted, CLOCKS_APART)
        for task_id in [task_id for task_id in self.recent if task_id not in self.listed]:
            task = yield from retry.get_task(task_id, self.limits, deadline=self.deadline)
            created = None if task is None or task.created_at is None else task.created_at.timestamp()
            if created is not None and start <= created <= min(end, self.now - SETTLED):
                return f"the history does not list task {printable(task_id)}, which was submitted at that time"
        return ""

    def _is_own(self, row: HistoryRow, wanted: Sequence[_Wanted]) -> bool:
        """Whether a row is of another submission of this client."""
        task_id = row.task_id if _names_one_task(row) else None
        return task_id is not None and all(self._is_of_another(task_id, one) for one in wanted)

    def _add_newest(self, rows: list[HistoryRow], wanted: Sequence[_Wanted]) -> Flow[str]:
        """Add rows of that time that the history lists only without a filter; return what is wrong with its times."""
        try:
            newest = yield from pagination.HistoryReader(requests.HistoryQuery(), self.limits, self.deadline).more()
        except errors.UnitaskError as error:
            return f"the task history cannot be read: {error}"
        (start, end), seen = _joint(wanted, CLOCKS_APART), {row.task_id for row in rows}
        for row in newest:
            created = None if row.created_at is None else row.created_at.timestamp()
            if created is not None and created > self.now + CLOCKS_APART:
                return "the times in the history are not those of the provider's Date header"
            if created is not None and start <= created <= end and row.task_id not in seen:
                rows.append(row)
        return ""

    def _poll(self, task_id: str) -> Flow[Seen | None]:
        """Poll a task; return what was last seen of it, None if nothing was."""
        if self.polls < MOST_POLLS * len(self.wanted):
            self.polls += 1
            task = yield from retry.get_task(task_id, self.limits, deadline=self.deadline)
            if task is not None:
                self.known[task_id] = self._seen(task)
        return self.known.get(task_id)

    def _seen(self, task: Task[Output]) -> Seen:
        fields = {name: digest(value) for name, value in as_object(task.raw.get("input")).items()}
        fits = {one.identity.fingerprint for one in self.wanted if has_whole_input(task, fields, one.identity)}
        tokens = {one.identity.submission for one in self.wanted}
        for other in list(self.sending.values()):
            identity = _fingerprint(*_kind(other.body), None, _digests(other.body))
            if other.token not in tokens and has_whole_input(task, fields, identity):
                fits.add(f"of {other.token}")
        return Seen(task, marks_in(task.raw), fields, frozenset(fits))


def _joint(wanted: Sequence[_Wanted], room: float) -> tuple[int, int]:
    """Return the time from the first of these submissions to the last one."""
    periods = [one.period(room) for one in wanted]
    return min(start for start, _ in periods), max(end for _, end in periods)


def _placed(dated: Dated, sent: SubmissionTime) -> tuple[float, float]:
    """Return the earliest and the latest time of a submission on the provider's clock, which shows whole seconds."""
    date, at = dated
    spans = [(moment.monotonic - at.monotonic, moment.unix - at.unix) for moment in (sent.start, sent.end)]
    return date + min(map(min, spans)), date + 1.0 + max(map(max, spans))


def _names_one_task(row: HistoryRow) -> bool:
    given = (row.raw.get("task_id"), as_object(row.raw.get("detail")).get("task_id"))
    return len({name for name in given if isinstance(name, str) and name.strip()}) <= 1


def _is_for_adoption(seen: Seen, one: _Wanted) -> bool:
    """Whether a task has the whole input of this submission, and of no other one."""
    return seen.fits == frozenset([one.identity.fingerprint])
