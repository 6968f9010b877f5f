"""Jobs that workers share, as they are stored in PostgreSQL: inputs, options, limits, and shards in the queue."""

import contextlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, LiteralString, NamedTuple, cast

from .. import tasks
from .._core.journal import Row, RowState, Totals
from .._core.pricing import CREDITS_PER_USD
from ..errors import InvalidInput, JournalError
from ..inputs import Raw, TaskInput
from .postgres import SCHEMA, Cursor, Database, Shard, read_rows, read_totals, store_rows

try:
    from procrastinate import App, SyncPsycopgConnector
    from procrastinate.jobs import Job as Entry
    from procrastinate.schema import SchemaManager
except ImportError:
    raise ModuleNotFoundError("procrastinate is not installed: pip install 'unitask[bulk-postgres]'") from None

if TYPE_CHECKING:
    from ..async_client import AsyncClient

SHARD_SIZE: Final = 200
TASK: Final = "unitask.shard"
OPTIONS: Final = {"overwrite", "service_mode", "timeout", "to", "validate", "webhook_secret", "webhook_url"}  # of map
CREATION: Final = 0x756E6974  # the advisory lock under which the tables are made
NEW_JOB: Final = (
    "INSERT INTO job (account, base_url, options, inputs, shard_size, money_limit, concurrency, per_second)"
    " VALUES (%s, %s, %s, 0, %s, %s, %s, %s) RETURNING id"
)
FORGET_REFUSED: Final = "DELETE FROM task WHERE job = %s AND key >= %s AND key < %s AND digest = ''"
OWNER: Final = "SELECT key FROM task WHERE job = %s AND task_id = %s"
NEW_SHARDS: Final = "INSERT INTO shard (job, number) SELECT %s, generate_series(0, %s - 1)"


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
        JournalError: The database cannot be reached. The message says if the job may be stored all the same.
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
    stored = list[tuple[int, int]]()  # the job and its transaction, as far as the commit
    with contextlib.closing(Database(url)) as database:
        database.run(make_tables)

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
            stored.append((int(job), (at.execute("SELECT txid_current()").fetchone() or (0,))[0]))
            return int(job)

        try:
            return database.run(store, patience=0.0)  # the inputs can be read once
        except JournalError as error:
            if stored and _is_committed(database, *stored[0], error):
                return stored[0][0]
            raise


def _is_committed(database: Database, job: int, transaction: int, error: JournalError) -> bool:
    """Return whether the commit of a job took effect, though its answer did not come; raise if that is unknown."""
    with contextlib.suppress(JournalError):
        found = database.run(lambda at: at.execute("SELECT txid_status(%s)", (transaction,)).fetchone(), patience=60.0)
        if found in (("committed",), ("aborted",)):
            return found == ("committed",)
    raise JournalError(
        f"{error}. Job {job} may be stored: before you submit it again, see `unitask bulk status {job} --on URL`"
    ) from error


def status(url: str, job: int) -> JobStatus:
    """Return how far a job has got."""
    with contextlib.closing(Database(url)) as database:
        return database.run(lambda at: _status(at, job))


def results(url: str, job: int) -> list[Row]:
    """Return the rows of a job: its tasks that were sent, in the order of the inputs."""
    with contextlib.closing(Database(url)) as database:
        return database.run(lambda at: read_rows(at, job))


def settle(url: str, job: int, index: int, task_id: str | None) -> int:
    """Decide about a task that is UNKNOWN: `task_id`, or None if it was not accepted; the workers go on with it.

    Args:
        url: The database of `submit`.
        job: The number of the job.
        index: The number of the input, from 0.
        task_id: Its task, which you have found in the task history. None frees its money and sends it again: if it was
            accepted after all, it is paid twice.

    Returns:
        The money that is no longer held, in credits of 1e-7 USD.

    Raises:
        InvalidInput: The task is not UNKNOWN, a worker has its shard, or another input has this task.
        JournalError: The database cannot be reached.
    """
    queue = App(connector=SyncPsycopgConnector()).job_manager

    def change(at: Cursor) -> int:
        (size,) = at.execute("SELECT shard_size FROM job WHERE id = %s FOR UPDATE", (job,)).fetchone() or (1,)
        number = index // size
        query: LiteralString = "SELECT done, lease > clock_timestamp() FROM shard WHERE job = %s AND number = %s"
        done, is_taken = at.execute(query + " FOR UPDATE", (job, number)).fetchone() or (False, False)
        row = next(iter(read_rows(at, job, index, index + 1)), None)
        if row is None or row.state is not RowState.UNKNOWN:
            state = "not sent" if row is None else row.state.value
            raise InvalidInput(f"input {index} of job {job} is {state}: only one that is unknown can be settled")
        if is_taken:
            raise InvalidInput(f"a worker has shard {number} of job {job} now: settle it when the worker has ended")
        if task_id is not None and at.execute(OWNER, (job, task_id)).fetchone() is not None:
            raise InvalidInput(f"task {task_id!r:.80} is that of another input of job {job}")
        sent = None if task_id is None else row._replace(state=RowState.SENT, task_id=task_id, outcome=None)
        store_rows(at, job, {index: row}, {index: sent})
        if done:  # inputs that were refused before they were sent are tried again, too
            at.execute(FORGET_REFUSED, (job, number * size, (number + 1) * size))
            at.execute("UPDATE shard SET done = false WHERE job = %s AND number = %s", (job, number))
            queue.batch_defer_jobs([_entry(job, number)], connection=at.connection)
        return row.held if sent is None else 0

    with contextlib.closing(Database(url)) as database:
        return database.run(change)


def make_tables(at: Cursor) -> None:
    """Make the tables, ours and those of procrastinate, if this database does not have them."""
    at.execute("SELECT pg_advisory_xact_lock(%s)", (CREATION,))
    (found,) = at.execute("SELECT to_regclass('unitask.procrastinate_jobs')").fetchone() or (None,)
    if found is None:
        at.execute(SCHEMA)
        at.execute(SchemaManager.get_schema())


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


def inputs_of(at: Cursor, shard: Shard) -> tuple[list[TaskInput[Any]], dict[str, Any]]:
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
    entry = Entry(queue=queue_of(job), task_name=TASK, lock=None, queueing_lock=None)
    return entry.evolve(task_kwargs={"job": job, "number": number})


def place_of(entry: Entry) -> tuple[int, int]:
    """Return job and number of the shard of an entry."""
    return cast("int", entry.task_kwargs["job"]), cast("int", entry.task_kwargs["number"])


def queue_of(job: int) -> str:
    """Return the queue of procrastinate that has the shards of a job."""
    return f"job-{job}"
