"""Jobs that several machines share: procrastinate on PostgreSQL hands out shards of a job and detects dead workers.

Rules of this file: what a shard has done is in our tables, and procrastinate only says who tries it next. A worker that
gets a shard whose lease is not over puts it back. So it does no harm if two workers get the same shard, and no shard is
left out: its entry in the queue is ended only after `shard.done` was written, which needs the lease.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, LiteralString, NamedTuple, TypeVar, cast

from .. import tasks
from .._core.journal import Row, Totals
from .._core.pricing import CREDITS_PER_USD
from ..errors import InvalidInput, JournalError
from ..inputs import Raw, TaskInput
from .postgres import (
    CONNECTION,
    LOST,
    SAFE_PART,
    SCHEMA,
    Cursor,
    Database,
    PostgresJournal,
    Shard,
    clock,
    read_rows,
    read_totals,
)

try:
    from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
    from procrastinate.exceptions import ProcrastinateException
    from procrastinate.jobs import Job as Entry
    from procrastinate.jobs import Status as EntryStatus
    from procrastinate.schema import SchemaManager
    from psycopg import Error as PsycopgError
except ImportError:
    raise ModuleNotFoundError("procrastinate is not installed: pip install 'unitask[bulk-postgres]'") from None

if TYPE_CHECKING:
    from ..async_client import AsyncClient

__all__ = ["JobStatus", "results", "run_shard", "status", "submit", "work"]

T = TypeVar("T")
_log = logging.getLogger("unitask")
SHARD_SIZE: Final = 200
LEAST_RATE: Final = 1e-3  # of the rate of the job; a shard with less is not begun
RENEWALS: Final = 5  # in the time of a lease
SHUTDOWN: Final = 30.0  # seconds in which a worker that stops gives its shards back
TASK: Final = "unitask.shard"
OPTIONS: Final = {"overwrite", "service_mode", "timeout", "to", "validate", "webhook_secret", "webhook_url"}  # of map
CREATION: Final = 0x756E6974  # the advisory lock under which the tables are made
NEW_JOB: Final = (
    "INSERT INTO job (account, base_url, options, inputs, shard_size, money_limit, concurrency, per_second)"
    " VALUES (%s, %s, %s, 0, %s, %s, %s, %s) RETURNING id"
)
NEW_SHARDS: Final = "INSERT INTO shard (job, number) SELECT %s, generate_series(0, %s - 1)"
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
LIVE_SHARDS: Final = (
    "SELECT number, places, rate FROM shard WHERE job = %s AND NOT done AND lease > clock_timestamp() ORDER BY number"
)
UNFINISHED: Final = (
    "SELECT DISTINCT job FROM shard JOIN job ON job.id = shard.job"
    " WHERE NOT done AND account = %s AND (%s::bigint IS NULL OR job = %s)"
)


class JobStatus(NamedTuple):
    """How far a job has got. Amounts are in credits of 1e-7 USD."""

    job: int
    inputs: int
    totals: Totals
    limit: int | None
    shards: int
    shards_done: int
    workers: int  # that have a shard of it now

    @property
    def is_done(self) -> bool:
        """Whether every input has its end."""
        return self.shards == self.shards_done


def submit(
    url: str,
    client: "AsyncClient",
    inputs: Iterable[TaskInput[Any]],
    *,
    concurrency: int = 1000,
    per_second: float | None = None,
    max_usd: float | None = None,
    shard_size: int = SHARD_SIZE,
    **options: Any,
) -> int:
    """Store a job for workers; nothing is sent to the provider.

    Args:
        url: The database: postgresql://user:password@host/database. The tables are made in its schema `unitask`.
        client: A client with the key and base_url that the workers use.
        inputs: The tasks. Their files are URLs, or paths that each worker can read.
        concurrency: How many tasks may go on at once, over all workers.
        per_second: The most submissions a second, over all workers; None for no limit.
        max_usd: What the tasks may cost in all; None for no limit.
        shard_size: How many inputs a worker takes at once.
        **options: More arguments of `AsyncClient.map` for the workers: to, overwrite, timeout, validate, webhook_url,
            webhook_secret, service_mode. The database holds them in clear text.

    Returns:
        The number of the job.

    Raises:
        InvalidInput: An input or argument cannot be used; nothing was stored.
        JournalError: The database cannot be reached.
    """
    account = (client._account, client.base_url)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    limit = None if max_usd is None else round(max_usd * CREDITS_PER_USD)
    rate = math.inf if per_second is None else per_second
    if concurrency < 1 or shard_size < 1 or not rate > 0:
        given = f"concurrency is {concurrency}, shard_size {shard_size} and per_second {per_second}"
        raise InvalidInput(f"{given}: give whole numbers from 1, and a rate above 0", undone="nothing was stored")
    if unknown := sorted(options.keys() - OPTIONS):
        raise InvalidInput(f"a job has no option {unknown[0]!r}: give {', '.join(sorted(OPTIONS))}")
    queue = App(connector=SyncPsycopgConnector()).job_manager
    with contextlib.closing(Database(url)) as database:
        database.run(_make_tables)

        def store(at: Cursor) -> int:
            values = (*account, json.dumps(options, default=os.fspath), shard_size, limit, concurrency, rate)
            (job,) = at.execute(NEW_JOB, values).fetchone() or (0,)
            count = 0
            with at.copy("COPY input (job, key, task) FROM STDIN") as copy:
                for count, task in enumerate(inputs, 1):
                    copy.write_row((job, count - 1, _stored(task)))
            shards = -(-count // shard_size)
            at.execute("UPDATE job SET inputs = %s WHERE id = %s", (count, job))
            at.execute(NEW_SHARDS, (job, shards))
            entries = [_entry(job, number) for number in range(shards)]
            if entries:
                queue.batch_defer_jobs(entries, connection=at.connection)
            return int(job)

        return database.run(store, patience=0.0)  # the inputs can be read once


def status(url: str, job: int) -> JobStatus:
    """Return how far a job has got."""
    with contextlib.closing(Database(url)) as database:
        return database.run(lambda at: _status(at, job))


def results(url: str, job: int) -> list[Row]:
    """Return the rows of a job: its tasks that were sent, in the order of the inputs."""
    with contextlib.closing(Database(url)) as database:
        return database.run(lambda at: read_rows(at, job))


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
            `AsyncClient.map`. The shards of this worker are free again: correct the cause, and start it again.
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
        Whether the shard is done. If not, another worker has it, or had it last: call it again after `lease` seconds.

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
        is_done, refused = False, list[tuple[int, int, str]]()
        try:
            while not shard.limits.concurrency:  # `renew` divides again
                if shard.is_lost:
                    raise JournalError(LOST)
                await asyncio.sleep(self.lease / (2 * RENEWALS))
            inputs, options = await self.do(lambda at: _inputs(at, shard))
            journal = await asyncio.to_thread(PostgresJournal, self.url, shard)
            try:
                async for result in self.client.map(inputs, journal=journal, **{**options, **self._options}):
                    if result.error is not None:
                        told = {"error": type(result.error).__name__, "message": str(result.error)}
                        refused.append((shard.job, shard.first + result.index, json.dumps(told)))
            finally:
                await asyncio.to_thread(journal.close)
            is_done = True
        except JournalError:
            if not shard.is_lost:
                raise
            _log.warning("shard %d of job %d: %s", shard.number, shard.job, LOST)
        finally:
            self._held.discard(shard)
            values = (is_done, self._owner, shard.job, shard.number)
            is_done = await self.do(lambda at: _release(at, values, refused)) and is_done
        return is_done

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
        await self._holder.do(_make_tables)
        async with self._app.open_async():
            self._id = await self._queue.register_worker()
            try:
                while await self._turn() or forever:
                    await self._pause()
            finally:
                for task in self._running:
                    task.cancel()
                if self._running:
                    await asyncio.wait(self._running, timeout=SHUTDOWN)
                with _outages_logged():
                    await self._queue.unregister_worker(self._id)

    async def _turn(self) -> bool:
        """Renew the leases, return shards of dead workers to the queue, and take more; return whether work is left."""
        await self._holder.renew()
        with _outages_logged():
            await self._queue.update_heartbeat(self._id)
            stalled = list(await self._queue.get_stalled_jobs(seconds_since_heartbeat=self._holder.lease))
            own = await self._queue.list_jobs_async(worker_id=self._id, status="doing")
            known = set(self._running.values())
            lost = [entry for entry in own if _place(entry) not in known]  # an answer of the database did not arrive
            for entry in [*stalled, *lost]:
                await self._put_back(entry)
        unfinished = await self._holder.do(self._unfinished)
        with _outages_logged():
            while unfinished and len(self._running) < self._most:
                fetched = await self._queue.fetch_job([_queue(job) for job in unfinished], self._id)
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
        place = _place(entry)
        shard = await self._holder.take(*place)
        if shard is not None:
            self._running[asyncio.create_task(self._run(entry, shard))] = place
        elif await self._holder.is_done(*place):
            await self._queue.finish_job(entry, EntryStatus.SUCCEEDED, delete_job=True)
        else:
            await self._put_back(entry, seconds=self._holder.lease / 2)

    async def _run(self, entry: Entry, shard: Shard) -> None:
        is_done = False
        try:
            is_done = await self._holder.run(shard)
        finally:
            if is_done:
                with _outages_logged():
                    await self._queue.finish_job(entry, EntryStatus.SUCCEEDED, delete_job=True)
            else:
                await self._put_back(entry)

    def _unfinished(self, at: Cursor) -> list[int]:
        """Return the jobs that this worker may work on."""
        account = self._holder.client._account  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        rows = at.execute(UNFINISHED, (account, self._job, self._job)).fetchall()
        return [job for (job,) in rows]


def _make_tables(at: Cursor) -> None:
    """Make the tables, ours and those of procrastinate, if this database does not have them."""
    at.execute("SELECT pg_advisory_xact_lock(%s)", (CREATION,))
    (found,) = at.execute("SELECT to_regclass('unitask.procrastinate_jobs')").fetchone() or (None,)
    if found is None:
        at.execute(SCHEMA)
        at.execute(SchemaManager.get_schema())


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


def _status(at: Cursor, job: int) -> JobStatus:
    found = at.execute("SELECT inputs, money_limit FROM job WHERE id = %s", (job,)).fetchone()
    if found is None:
        raise InvalidInput(f"there is no job {job} in this database")
    query: LiteralString = (
        "SELECT count(*), count(*) FILTER (WHERE done), count(DISTINCT owner) FILTER (WHERE lease > clock_timestamp())"
        " FROM shard WHERE job = %s"
    )
    shards, done, workers = at.execute(query, (job,)).fetchone() or (0, 0, 0)
    return JobStatus(job, found[0], read_totals(at, job), found[1], shards, done, workers)


def _inputs(at: Cursor, shard: Shard) -> tuple[list[TaskInput[Any]], dict[str, Any]]:
    """Return the inputs of a shard, and the options of its job."""
    values = (shard.job, shard.first, shard.first + shard.size)
    rows = at.execute("SELECT task FROM input WHERE job = %s AND key >= %s AND key < %s ORDER BY key", values)
    inputs = [_restored(task) for (task,) in rows.fetchall()]
    query: LiteralString = "SELECT options, money_limit FROM job WHERE id = %s"
    (options, limit) = at.execute(query, (shard.job,)).fetchone() or ("{}", None)
    max_usd = None if limit is None else limit / CREDITS_PER_USD  # refuses tasks of unknown cost; the journal counts
    return inputs, {**json.loads(options), "max_usd": max_usd}


def _stored(task: TaskInput[Any]) -> str:
    """Return a task as JSON: its class and its fields."""
    name = type(task).__name__
    if not isinstance(cast("object", task), TaskInput) or _class(name) is not type(task):
        raise InvalidInput(f"{task!r:.80} is not an object of unitask.tasks", undone="nothing was stored")
    values = {item.name: getattr(task, item.name) for item in fields(cast("Any", task))}
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return json.dumps({"task": name, "fields": given}, default=os.fspath)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{task!r:.80} cannot be stored: {error}: give files as URLs or paths", undone="nothing was stored"
        ) from error


def _restored(text: str) -> TaskInput[Any]:
    stored = json.loads(text)
    return cast("TaskInput[Any]", _class(stored["task"])(**stored["fields"]))


def _class(name: str) -> Any:
    return Raw if name == "Raw" else getattr(tasks, name, None)


def _entry(job: int, number: int) -> Entry:
    entry = Entry(queue=_queue(job), task_name=TASK, lock=None, queueing_lock=None)
    return entry.evolve(task_kwargs={"job": job, "number": number})


def _place(entry: Entry) -> tuple[int, int]:
    """Return job and number of the shard of an entry."""
    return cast("int", entry.task_kwargs["job"]), cast("int", entry.task_kwargs["number"])


def _queue(job: int) -> str:
    return f"job-{job}"


@contextlib.contextmanager
def _outages_logged() -> Generator[None]:
    """Go on when the queue cannot be used for a moment."""
    try:
        yield
    except (ProcrastinateException, PsycopgError) as error:
        _log.warning("the queue of the job: %s: trying again", error)
