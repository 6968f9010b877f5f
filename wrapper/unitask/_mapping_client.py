"""What both clients share for `map`: the check of its arguments, and the submission of an input."""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sized
from dataclasses import replace
from typing import Any, cast

from ._base_client import PROCESS, BaseClient, HttpClientT, SleptT, TransportT, check, is_number, is_whole
from ._core import pricing, recovery
from ._core.effects import Flow
from ._core.journal import Job as JournalOwner
from ._core.journal import Journal, PoolLimits
from ._core.ledger import Ledger
from ._core.pool import Job, Pool
from ._core.pricing import CREDITS_PER_USD
from ._core.recovery import ClientIdentity, Submission
from ._model.task import Recovery, Task
from .budget import Budget
from .download import check_destination, names_folder
from .errors import InvalidInput, SubmissionUncertain
from .inputs import Options, TaskInput
from .mapping import MapRun
from .media import measured

MAP_OUTAGE = 480.0  # seconds; less than any usual limit of a wait, so that the error says why polls failed
MAP_ATTEMPTS = 20  # how often `map` sends a submission that never left, or that was answered HTTP 429


class MappingClient(BaseClient[HttpClientT, TransportT, SleptT]):
    """The part of a client that prepares `map`."""

    def _map_run(
        self,
        tasks: Iterable[TaskInput[Any]],
        options: Options,
        limits: PoolLimits,
        max_usd: float | None,
        timeout: float | None,
        to: str | os.PathLike[str] | None,
        journal: Journal | None,
    ) -> MapRun:
        """Check the arguments of `map`; return the state of this call."""
        self._check_open()
        concurrency, rate = limits.concurrency, limits.per_second
        check(is_whole(concurrency) and concurrency > 0, "concurrency", concurrency, "a whole number from 1")
        check(is_number(rate) and rate > 0, "per_second", rate, "a number of submissions a second, above 0, or None")
        usable = max_usd is None or (is_number(max_usd) and 0 <= max_usd < math.inf)
        check(usable, "max_usd", max_usd, "an amount in USD, 0 or more, or None")
        usable = journal is None or callable(getattr(cast("object", journal), "intent", None))
        check(usable, "journal", journal, "a journal, such as unitask.bulk.Journal('job.db')")
        if isinstance(tasks, TaskInput | str) or not isinstance(cast("object", tasks), Iterable):
            raise InvalidInput(f"{tasks!r:.80} is not a list of tasks: give an iterable of objects of unitask.tasks")
        if to is not None:
            if not names_folder(to):
                raise InvalidInput(f"to is {os.fspath(to)!r}: name a folder (with a slash at its end)")
            check_destination(to)
        total = len(tasks) if isinstance(tasks, Sized) else None
        budgets = tuple(budget for budget in (self.budget, self._own_budget(max_usd, journal)) if budget)
        limits = (None if journal is None else journal.limits) or limits
        limits.has_webhook = self._webhooks is not None and bool(options.get("webhook_url"))
        timeouts = replace(self._limits(timeout), outage=MAP_OUTAGE)
        pool = Pool(iter(tasks), limits, timeouts, self._ledger(journal, max_usd))
        policy = self._retry_policy if self._has_own_retries else replace(self._retry_policy, attempts=MAP_ATTEMPTS)
        return MapRun(pool, total, options, budgets, to, policy)

    def _own_budget(self, max_usd: float | None, journal: Journal | None) -> Budget | None:
        """Return the budget of one call of `map`; a journal has its own limit."""
        return None if max_usd is None or journal is not None else Budget(max_usd)

    def _ledger(self, journal: Journal | None, max_usd: float | None) -> Ledger | None:
        if journal is None:
            return None
        limit = None if max_usd is None else round(max_usd * CREDITS_PER_USD)
        journal.begin(JournalOwner(self._account, self.base_url, limit))
        return Ledger(journal, digest_of, self._find_many, max_usd)

    def _find_many(
        self,
        lost: list[SubmissionUncertain],
        own: Mapping[str, str],
        sending: Mapping[int, Submission],
        timeout: float | None,
    ) -> Flow[list[Recovery]]:
        client = ClientIdentity(PROCESS, self._account)
        return recovery.find_many(lost, own, self._limits(timeout), client, sending)

    def _map_submission(self, run: MapRun, job: Job[TaskInput[Any]], body: dict[str, Any]) -> Flow[Task[Any]]:
        """Return the flow that submits an input."""
        job.submission = Submission()
        flow = self._submit_flow(body, job.input, job.submission, retry_policy=run.retry_policy, budgets=run.budgets)
        if run.pool.ledger is None:
            return flow
        job.held = pricing.estimate(body, measured)
        return run.pool.ledger.submission(job.index, job.input, job.held, flow, job.submission)

    def _uncertain(self, job: Job[TaskInput[Any]]) -> SubmissionUncertain:
        """Return the error of a submission that an earlier call may have sent."""
        intent, outcome = ("", None) if job.row is None else (job.row.intent, job.row.outcome)
        sent_before = json.loads(outcome or "{}").get("sent_before")
        return recovery.from_json(intent, *job.input.operation(), self._clock(), self._dated, PROCESS, sent_before)


def digest_of(task: TaskInput[Any]) -> str:
    """Return a digest of an input as it was given: of the names of files, not of their content."""
    text = _JSON.encode([*task.operation(), task.values()])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _lasting(value: object) -> str:
    """Return what an object is in another process, too: its `repr` can have an address in memory."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(cast("os.PathLike[str]", value))
    return repr(value) if isinstance(value, bytes) else f"{type(value).__name__} {getattr(value, 'name', '')}"


_JSON = json.JSONEncoder(sort_keys=True, default=_lasting)
