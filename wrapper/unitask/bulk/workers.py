"""Jobs that several machines share: procrastinate on PostgreSQL hands out shards of a job and detects dead workers.

Rules of this file: what a shard has done is in our tables, and procrastinate only says who tries it next. A worker that
gets a shard whose lease is not over puts it back. So it does no harm if two workers get the same shard, and no shard is
left out: its entry in the queue is ended only after `shard.done` was written, which needs the lease. A shard is done
only when each of its tasks has ended and its files are fetched.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeGuard, TypeVar, cast

from ..errors import (
    BudgetExceeded,
    DownloadFailed,
    InvalidInput,
    JournalError,
    SubmissionUncertain,
    TaskFailed,
    UnitaskError,
)
from .jobs import JobStatus, inputs_of, make_tables, place_of, queue_of, results, settle, status, submit
from .postgres import (
    CONNECTION,
    LOST,
    SAFE_PART,
    Cursor,
    Database,
    PostgresJournal,
    Shard,
    clock,
)

try:
    from procrastinate import App, PsycopgConnector
    from procrastinate.exceptions import ProcrastinateException
    from procrastinate.jobs import Job as Entry
    from procrastinate.jobs import Status as EntryStatus
    from psycopg import Error as PsycopgError
except ImportError:
    raise ModuleNotFoundError("procrastinate is not installed: pip install 'unitask[bulk-postgres]'") from None

if TYPE_CHECKING:
    from ..async_client import AsyncClient
    from ..mapping import MapResult

__all__ = ["JobStatus", "results", "run_shard", "settle", "status", "submit", "work"]

T = TypeVar("T")
_log = logging.getLogger("unitask.bulk")
LEAST_RATE: Final = 1e-3  # of the rate of the job; a shard with less is not begun
RENEWALS: Final = 5  # in the time of a lease
SHUTDOWN: Final = 30.0  # seconds in which a worker that stops gives its shards back
ATTEMPTS: Final = 3  # by a worker at a shard whose tasks do not end, or whose files cannot be fetched
LONGEST_PAUSE: Final = 600.0  # seconds between them
UNSAVED: Final = 10  # results in a row without their files, after which a worker ends, so that no more is paid
TAKE: Final = (
    "UPDATE shard SET owner = %s, lease = clock_timestamp() + make_interval(secs => %s), places = 0, rate = 0"
    " WHERE job = %s AND number = %s AND NOT done AND lease < clock_timestamp() RETURNING number"
)
RENEW: Final = (
    "UPDATE shard SET lease = clock_timestamp() + make_interval(secs => %s)"
    " WHERE owner = %s AND NOT done AND lease > clock_timestamp() RETURNING job, number"
)
RELEASE: Final = (
    "UPDATE shard SET lease = '-infinity', done = %s"
    " WHERE owner = %s AND job = %s AND number = %s AND lease > clock_timestamp() RETURNING number"
)
REFUSED: Final = (
    "INSERT INTO task (job, key, digest, state, intent, held, spent, outcome, files)"
    " VALUES (%s, %s, '', 'failed', '', 0, 0, %s, '[]') ON CONFLICT (job, key) DO NOTHING"
)
OPEN_TASKS: Final = (
    "SELECT number, count(*) FROM task JOIN shard ON shard.job = task.job AND number = key / %s"
    " WHERE task.job = %s AND state IN ('sending', 'sent') AND NOT done GROUP BY number"
)
HAS_OPEN_TASKS: Final = "SELECT 1 FROM task WHERE job = %(job)s AND state IN ('sending', 'sent') LIMIT 1"
LIVE_SHARDS: Final = (
    "SELECT number, places, rate FROM shard WHERE job = %s AND NOT done AND lease > clock_timestamp() ORDER BY number"
)
UNFINISHED: Final = (
    "SELECT job, number FROM shard JOIN job ON job.id = shard.job"
    " WHERE NOT done AND account = %s AND (%s::bigint IS NULL OR job = %s)"
)


async def work(
    url: str,
    client: "AsyncClient",
    *,
    job: int | None = None,
    forever: bool = False,
    shards: int = 2,
    lease: float = 60.0,
    **options: Any,
) -> None:
    """Work on the jobs of the account of this client, until they are done. Start it on as many machines as you like.

    Args:
        url: The database of `submit`.
        client: Sends the requests.
        job: The number of the one job to work on; None for all.
        forever: Whether to wait for more jobs when all are done.
        shards: How many shards this worker has at once.
        lease: Seconds for which a shard stays with this worker while the database hears nothing of it. After that
            another worker takes it. The clocks of the machines need not agree.
        **options: Arguments of `AsyncClient.map` that replace those of `submit`: to, overwrite, on_progress.

    Raises:
        JournalError: The database could not be reached for 10 minutes.
        InvalidInput, AuthenticationFailed, InsufficientCredit, BudgetExceeded: What concerns the whole job, see
            `AsyncClient.map`; BudgetExceeded only when no other task goes on, whose end may free money. The shards of
            this worker are free again: correct the cause, and start it again.
        DownloadFailed: The files of 10 tasks in a row could not be saved, or those of some after all else was done.
        WaitTimeout, Unreachable: Some tasks did not end, after all else was done. The next worker goes on with them.
    """
    with contextlib.closing(_Holder(url, client, lease, options)) as holder:
        await _Worker(holder, job, shards).run(forever=forever)


async def run_shard(
    url: str, client: "AsyncClient", job: int, number: int, *, lease: float = 60.0, **options: Any
) -> bool:
    """Work on one shard that an engine of your own hands out (Celery, Ray). It may be called any number of times.

    Args:
        url: The database of `submit`.
        client: Sends the requests.
        job: The number of the job.
        number: The number of the shard: `status(url, job).shards` of them, from 0.
        lease: As for `work`.
        **options: As for `work`.

    Returns:
        Whether the shard is done. If not, another worker has it, or had it last, or a task of it did not end, or its
        files could not be fetched: call it again after `lease` seconds.

    Raises:
        UnitaskError: As `work` does.
    """
    with contextlib.closing(_Holder(url, client, lease, options)) as holder:
        shard = await holder.take(job, number)
        if shard is None:
            return await holder.is_done(job, number)
        run = asyncio.create_task(holder.run(shard))
        try:
            while not run.done():
                await asyncio.wait([run], timeout=lease / RENEWALS)
                await holder.renew()
        finally:
            run.cancel()
            await asyncio.wait([run], timeout=SHUTDOWN)
        return run.result()


class _Holder:
    """Takes shards, works on them, and keeps their leases."""

    def __init__(self, url: str, client: "AsyncClient", lease: float, options: Mapping[str, Any]) -> None:
        self.client, self.lease = client, lease
        self.url, self._options = url, options
        self._owner = f"{socket.gethostname()} {os.getpid()} {os.urandom(4).hex()}"
        self._database = Database(url)
        self._held: set[Shard] = set()
        # How often shards were tried that are not done, by job and number, and the last error of a task.
        self.left: dict[tuple[int, int], tuple[int, UnitaskError]] = {}

    async def do(self, change: "Callable[[Cursor], T]") -> T:
        """Carry out a change of the database."""
        return await asyncio.to_thread(self._database.run, change)

    def close(self) -> None:
        """End attempts to reach a database that does not answer."""
        self._database.close()

    async def take(self, job: int, number: int) -> Shard | None:
        """Take a shard for the time of a lease; None if another worker has it, or it is done."""
        until = self._until()
        values = (self._owner, self.lease, job, number)
        if not await self.do(lambda at: at.execute(TAKE, values).fetchone()):
            return None
        query = "SELECT shard_size FROM job WHERE id = %s"
        (size,) = await self.do(lambda at: at.execute(query, (job,)).fetchone()) or (0,)
        shard = Shard(job, number, number * size, size, self._owner, until)
        self._held.add(shard)
        await self.do(partial(_divide, job=job, mine=[shard]))
        return shard

    async def renew(self) -> None:
        """Renew the leases in one statement, and divide the limits anew. A lease that has expired is over for good."""

        def renew(at: Cursor) -> None:
            until = self._until()
            kept = set(at.execute(RENEW, (self.lease, self._owner)).fetchall())
            for shard in self._held:
                shard.until = until if (shard.job, shard.number) in kept else -math.inf

        await self.do(renew)
        for job in {shard.job for shard in self._held}:
            await self.do(partial(_divide, job=job, mine=[shard for shard in self._held if shard.job == job]))

    async def is_done(self, job: int, number: int) -> bool:
        """Return whether a shard is done."""
        query = "SELECT done FROM shard WHERE job = %s AND number = %s"
        return (await self.do(lambda at: at.execute(query, (job, number)).fetchone())) == (True,)

    async def run(self, shard: Shard) -> bool:
        """Work on a shard, and give it back; return whether it is done now."""
        is_done, refused, left, unsaved = False, list[tuple[int, int, str]](), list[UnitaskError](), 0
        try:
            while not shard.limits.concurrency:  # `renew` divides again
                if shard.is_lost:
                    raise JournalError(LOST)
                await asyncio.sleep(self.lease / (2 * RENEWALS))
            inputs, options = await self.do(lambda at: inputs_of(at, shard))
            journal = await asyncio.to_thread(PostgresJournal, self.url, shard)
            try:
                results = self.client.map(inputs, journal=journal, **{**options, **self._options})
                async with contextlib.aclosing(cast("AsyncGenerator[MapResult[Any]]", results)) as results:
                    async for result in results:
                        unsaved = unsaved + 1 if isinstance(result.error, DownloadFailed) else 0
                        if unsaved == UNSAVED and result.error is not None:
                            raise result.error
                        if _is_left(result.error, self.left.get((shard.job, shard.number), (0, None))[0]):
                            left.append(result.error)
                        elif result.error is not None:
                            told = {"error": type(result.error).__name__, "message": str(result.error)}
                            refused.append((shard.job, shard.first + result.index, json.dumps(told)))
            finally:
                await asyncio.to_thread(journal.close)
            is_done = not left
            self._note_left(shard, left)
        except JournalError:
            if not shard.is_lost:
                raise
            _log.warning("shard %d of job %d: %s", shard.number, shard.job, LOST)
        finally:
            self._held.discard(shard)
            values = (is_done, self._owner, shard.job, shard.number)
            is_done = await self.do(lambda at: _release(at, values, refused)) and is_done
        return is_done

    def _note_left(self, shard: Shard, left: Sequence[UnitaskError]) -> None:
        place = shard.job, shard.number
        attempts, _ = self.left.pop(place, (0, None))
        if left:
            self.left[place] = attempts + 1, left[0]
            _log.warning("shard %d of job %d: %d tasks are not done: %s", shard.number, shard.job, len(left), left[0])

    def pause(self, place: tuple[int, int]) -> float:
        """Return the seconds until a shard that is not done is tried again."""
        attempts, _ = self.left.get(place, (0, None))
        return min(LONGEST_PAUSE, self.lease * 2.0 ** (attempts - 1)) if attempts else 0.0

    def _until(self) -> float:
        """Return when the last request may leave after a renewal that begins now."""
        return clock() + SAFE_PART * self.lease


class _Worker:
    """Works on shards that procrastinate hands out."""

    def __init__(self, holder: _Holder, job: int | None, most: int) -> None:
        self._holder, self._job, self._most = holder, job, most
        connector = PsycopgConnector(conninfo=holder.url, kwargs=dict(CONNECTION), min_size=1, max_size=2)
        self._app = App(connector=connector)
        self._queue = self._app.job_manager
        self._id = 0  # among the workers of procrastinate
        self._running: dict[asyncio.Task[None], tuple[int, int]] = {}

    async def run(self, *, forever: bool) -> None:
        """Take shards until there are none, or one ends with an exception."""
        await self._holder.do(make_tables)
        async with self._app.open_async():
            self._id = await self._queue.register_worker()
            try:
                while await self._turn(forever=forever) or forever:
                    await self._pause()
            finally:
                for task in self._running:
                    task.cancel()
                if self._running:
                    await asyncio.wait(self._running, timeout=SHUTDOWN)
                with _outages_logged():
                    await self._queue.unregister_worker(self._id)

    async def _turn(self, *, forever: bool) -> bool:
        """Renew the leases, return shards of dead workers to the queue, and take more; return whether work is left."""
        await self._holder.renew()
        with _outages_logged():
            await self._queue.update_heartbeat(self._id)
            stalled = list(await self._queue.get_stalled_jobs(seconds_since_heartbeat=self._holder.lease))
            own = await self._queue.list_jobs_async(worker_id=self._id, status="doing")
            known = set(self._running.values())
            lost = [entry for entry in own if place_of(entry) not in known]  # an answer of the database did not arrive
            for entry in [*stalled, *lost]:
                await self._put_back(entry)
        unfinished = await self._holder.do(self._unfinished)
        left = [self._holder.left.get(place, (0, None)) for place in unfinished]
        if not (forever or self._running) and all(attempts >= ATTEMPTS for attempts, _ in left):
            for _, error in left:
                raise cast("UnitaskError", error)
        queues = [queue_of(job) for job in {job for job, _ in unfinished}]
        with _outages_logged():
            while queues and len(self._running) < self._most:
                fetched = await self._queue.fetch_job(queues, self._id)
                if fetched is None:
                    break
                await self._take(fetched)
        return bool(unfinished or self._running)

    async def _pause(self) -> None:
        """Wait until a shard ends, or the leases have to be renewed; raise what a shard raised."""
        seconds = self._holder.lease / RENEWALS
        if len(self._running) < self._most:
            seconds = min(1.0, seconds)
        if not self._running:
            await asyncio.sleep(seconds)
            return
        done, _ = await asyncio.wait(self._running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del self._running[task]
        for task in done:
            task.result()

    async def _put_back(self, entry: Entry, *, seconds: float = 0.0) -> None:
        """Let another worker try a shard; before others, since its tasks go on."""
        with contextlib.suppress(ProcrastinateException):  # another worker has done so, or has ended it
            at = datetime.now(UTC) + timedelta(seconds=seconds)
            await self._queue.retry_job(entry, retry_at=at, priority=1)

    async def _take(self, entry: Entry) -> None:
        """Begin with a shard, unless another worker has it."""
        place = place_of(entry)
        shard = await self._holder.take(*place)
        if shard is not None:
            self._running[asyncio.create_task(self._run(entry, shard))] = place
        elif await self._holder.is_done(*place):
            await self._queue.finish_job(entry, EntryStatus.SUCCEEDED, delete_job=True)
        else:
            await self._put_back(entry, seconds=self._holder.lease / 2)

    async def _run(self, entry: Entry, shard: Shard) -> None:
        is_done, pause = False, 0.0
        try:
            is_done = await self._holder.run(shard)
            pause = self._holder.pause(place_of(entry))
        except BudgetExceeded:
            values = {"job": shard.job}
            if not (await self._holder.do(lambda at: at.execute(HAS_OPEN_TASKS, values).fetchone())):
                raise
            _log.warning("shard %d of job %d waits for money that is held for other tasks", shard.number, shard.job)
            pause = self._holder.lease / 2
        finally:
            if is_done:
                with _outages_logged():
                    await self._queue.finish_job(entry, EntryStatus.SUCCEEDED, delete_job=True)
            else:
                await self._put_back(entry, seconds=pause)

    def _unfinished(self, at: Cursor) -> list[tuple[int, int]]:
        """Return job and number of the shards that are not done, of the jobs that this worker may work on."""
        account = self._holder.client._account  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return [(job, number) for job, number in at.execute(UNFINISHED, (account, self._job, self._job)).fetchall()]


def _is_left(error: UnitaskError | None, attempts: int) -> "TypeGuard[UnitaskError]":
    """Whether a task with this error has not ended, or its files are missing, or its submission may succeed later."""
    if error is None or isinstance(error, TaskFailed | SubmissionUncertain | InvalidInput):
        return False
    return error.task_id is not None or (error.retryable and attempts + 1 < ATTEMPTS)


def _divide(at: Cursor, *, job: int, mine: Sequence[Shard]) -> None:
    """Give these shards their part of the concurrency and rate of a job, as far as no other shard has it.

    Tasks that go on count in any case: those of a shard with fewer places now, and those of dead workers. A shard that
    was begun keeps one place, without which its pool would end.
    """
    limits = at.execute("SELECT concurrency, per_second, shard_size FROM job WHERE id = %s FOR UPDATE", (job,))
    concurrency, per_second, size = limits.fetchone() or (0, 0.0, 1)
    going_on: dict[int, int] = dict(at.execute(OPEN_TASKS, (size, job)).fetchall())
    live = {number: (places, rate) for number, places, rate in at.execute(LIVE_SHARDS, (job,)).fetchall()}
    places = going_on | {number: max(given, going_on.get(number, 0)) for number, (given, _) in live.items()}
    rates = {number: rate for number, (_, rate) in live.items()}
    for shard in mine:
        if shard.number not in live:
            continue
        rank, number = sorted(live).index(shard.number), shard.number
        part = concurrency // len(live) + (rank < concurrency % len(live))
        free = concurrency - sum(places.values()) + places[number]
        rate = per_second - sum(rate for other, rate in rates.items() if other != number)
        rate = min(per_second / len(live), rate) if math.isfinite(per_second) else math.inf
        if rate > LEAST_RATE * per_second or math.isinf(rate):
            shard.limits.concurrency = max(min(1, shard.limits.concurrency), min(part, free))
            shard.limits.per_second = rate
            places[number], rates[number] = max(shard.limits.concurrency, going_on.get(number, 0)), rate
        values = (shard.limits.concurrency, rates[number], job, number)
        at.execute("UPDATE shard SET places = %s, rate = %s WHERE job = %s AND number = %s", values)


def _release(at: Cursor, values: tuple[bool, str, int, int], refused: Sequence[tuple[int, int, str]]) -> bool:
    """Give a shard back, done or not; return False if another worker has it. Inputs without a task get a row, too."""
    if at.execute(RELEASE, values).fetchone() is None:
        return False
    if values[0]:
        at.executemany(REFUSED, refused)
    return True


@contextlib.contextmanager
def _outages_logged() -> Generator[None]:
    """Go on when the queue cannot be used for a moment."""
    try:
        yield
    except (ProcrastinateException, PsycopgError) as error:
        _log.warning("the queue of the job: %s: trying again", error)
