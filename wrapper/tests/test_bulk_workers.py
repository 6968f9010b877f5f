"""Workers on PostgreSQL: each input is sent once, whatever happens to a worker or to the database."""

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from unitask import AsyncClient, MapResult, errors, tasks
from unitask._core.journal import RowState, Verdict

from .postgres import MODULES, REASON, Server, running_server

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for module in MODULES:
        pytest.importorskip(module, reason=REASON)

import psycopg
from unitask.bulk import postgres, workers
from unitask.bulk.postgres import Database, PostgresJournal

SWAPS = [tasks.FaceSwap(target_image=f"https://me.test/{n}.jpg", swap_image="https://me.test/b.jpg") for n in range(25)]
LEASE = 2.0


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


class Pool:
    """A client whose `map` calls the journal in the order in which `AsyncClient.map` does."""

    base_url = "https://api.test"
    _account = "account"

    def __init__(self, other: "Pool | None" = None) -> None:
        self.history: list[str] = other.history if other else []
        self.sent: list[str] = []  # to the provider, by this client
        self.running: list[PostgresJournal] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.refusal: Exception | None = None
        self.failures: dict[int, list[errors.UnitaskError]] = {}  # of a task, by its key: its next results
        self.tries = 0

    async def map(
        self, inputs: list[tasks.FaceSwap], *, journal: PostgresJournal, max_usd: float | None
    ) -> AsyncIterator[MapResult[Any]]:
        self.running.append(journal)
        self.tries += 1
        rows = {row.key: row for row in await asyncio.to_thread(journal.rows)}
        while not journal.limits.concurrency:
            await asyncio.sleep(0.01)
        for key, task in enumerate(inputs):
            if self.refusal:
                raise self.refusal
            url = str(task.target_image)
            if key in rows and rows[key].task_id is None and url not in self.history:
                await asyncio.wrap_future(journal.withdrawn(rows.pop(key).key))
            failure = next(iter(self.failures.get(journal.shard.first + key, [])), None)
            if key not in rows:
                if await asyncio.wrap_future(journal.intent(key, "d", "{}", 10)) is not Verdict.GO:
                    raise errors.JournalError(postgres.LOST)
                journal.check()
                self.sent.append(url)
                self.history.append(url)
                await asyncio.wrap_future(journal.accepted(key, f"task of {url}"))
            await self.go_on.wait()
            if failure is not None:
                self.failures[journal.shard.first + key].pop(0)
                yield MapResult(key, task, None, failure)
                continue
            await asyncio.wrap_future(journal.ended(key, RowState.DONE, "{}", 7))
            yield MapResult(key, task, None)


def work(server: Server, job: int, client: Pool) -> "asyncio.Task[None]":
    return asyncio.create_task(workers.work(server.url, cast("AsyncClient", client), job=job, lease=LEASE))


def submit(server: Server, client: Pool, **options: Any) -> int:
    return workers.submit(server.url, cast("AsyncClient", client), SWAPS, shard_size=5, **options)


def check_done(server: Server, job: int, *clients: Pool) -> None:
    found = workers.status(server.url, job)
    assert found.is_done
    assert found.totals == (0, 7 * len(SWAPS), dict.fromkeys(RowState, 0) | {RowState.DONE: len(SWAPS)})
    assert sorted(url for client in clients for url in client.sent) == sorted(str(task.target_image) for task in SWAPS)


def execute(server: Server, query: str, *values: Any) -> None:
    with closing(Database(server.url)) as database:
        database.run(lambda at: at.execute(query.encode(), values))


def test_workers_share_a_job(server: Server) -> None:
    async def run() -> None:
        clients = [Pool(), Pool()]
        job = submit(server, clients[0])
        await asyncio.gather(*(work(server, job, client) for client in clients))
        check_done(server, job, *clients)

    asyncio.run(run())


def test_shards_of_a_dead_worker_are_finished_by_another(server: Server) -> None:
    async def run() -> None:
        dead = Pool()
        client = Pool(dead)
        job = submit(server, dead)
        dead.go_on.clear()
        started = work(server, job, dead)
        while len(dead.sent) < 2:
            await asyncio.sleep(0.01)
        with pytest.MonkeyPatch.context() as patch:  # it ends without a word
            patch.setattr(workers._Worker, "_put_back", asyncio.Event().wait)
            patch.setattr(workers, "RELEASE", "SELECT %s, %s, %s, %s")
            started.cancel()
            await asyncio.wait([started], timeout=0.5)
            dead_owner = dead.running[0].shard.owner
        execute(server, "UPDATE shard SET lease = now() WHERE owner = %s", dead_owner)
        execute(server, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        await work(server, job, client)
        check_done(server, job, dead, client)

    asyncio.run(run())


def test_worker_that_lost_its_lease_leaves_the_shard_to_the_next_one(server: Server) -> None:
    async def run() -> None:
        stopped = Pool()
        client = Pool(stopped)
        job = submit(server, stopped)
        stopped.go_on.clear()
        first = work(server, job, stopped)
        while len(stopped.sent) < 2:
            await asyncio.sleep(0.01)
        execute(server, "UPDATE shard SET lease = now() WHERE job = %s", job)
        execute(server, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        second = work(server, job, client)
        while not client.sent:
            await asyncio.sleep(0.01)
        stopped.go_on.set()
        await asyncio.gather(first, second)
        check_done(server, job, stopped, client)

    asyncio.run(run())


def test_shard_that_waits_for_a_place_and_loses_its_lease_is_given_back(server: Server) -> None:
    async def run() -> None:
        first, second = Pool(), Pool()
        job = submit(server, first, concurrency=1)
        first.go_on.clear()
        working = work(server, job, first)
        while not first.sent:
            await asyncio.sleep(0.01)
        execute(server, "UPDATE shard SET lease = now() WHERE job = %s AND places = 0", job)
        first.go_on.set()
        await asyncio.gather(working, work(server, job, second))
        check_done(server, job, first, second)

    asyncio.run(run())


NO_MONEY = errors.BudgetExceeded("the next task", estimate_usd=0.01, limit_usd=1.0, spent_usd=0.5, held_usd=0.5)


@pytest.mark.parametrize("refusal", [errors.InsufficientCredit("no credit"), NO_MONEY])
def test_error_that_concerns_the_job_ends_the_worker_and_frees_its_shards(server: Server, refusal: Exception) -> None:
    async def run() -> None:
        poor = Pool()
        client = Pool(poor)
        job = submit(server, poor)
        poor.refusal = refusal
        with pytest.raises(type(refusal)):
            await work(server, job, poor)
        assert workers.status(server.url, job)[-2:] == (0, 0)
        await work(server, job, client)
        check_done(server, job, poor, client)

    asyncio.run(run())


def test_worker_waits_for_money_that_is_held_for_tasks_of_another(server: Server) -> None:
    async def run() -> None:
        busy, poor = Pool(), Pool()
        job = submit(server, busy)
        busy.go_on.clear()
        first = work(server, job, busy)
        while len(busy.sent) < 2:
            await asyncio.sleep(0.01)
        poor.refusal = NO_MONEY
        second = work(server, job, poor)
        while len(poor.running) < 4 and not second.done():  # more than there are shards for it
            await asyncio.sleep(0.01)
        poor.refusal = None
        busy.go_on.set()
        await asyncio.gather(first, second)
        check_done(server, job, busy, poor)

    asyncio.run(run())


@pytest.mark.parametrize("is_committed", [False, True])
def test_job_whose_commit_has_no_answer_is_stored_once(
    server: Server, is_committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, jobs = Database._attempt, list[Any]()

    def broken(database: Database, change: Any) -> Any:
        if change.__name__ != "store":
            return attempt(database, change)

        def failing(at: Any) -> None:
            jobs.append(change(at))
            if not is_committed:
                at.connection.close()

        with contextlib.suppress(psycopg.OperationalError):
            attempt(database, failing)
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(Database, "_attempt", broken)
    if is_committed:
        assert submit(server, Pool()) == jobs[0]
    else:
        with pytest.raises(errors.JournalError, match="the connection is lost"):
            submit(server, Pool())
        with pytest.raises(errors.InvalidInput, match="there is no job"):
            workers.status(server.url, jobs[0])


LATE = errors.WaitTimeout("1", task=None, waited=600.0, polls=1, statuses=())
NOT_FETCHED = errors.DownloadFailed("https://out.test/1.png was not fetched: HTTP 500", url="", task_id="1")


@pytest.mark.parametrize("failure", [LATE, NOT_FETCHED])
def test_shard_is_tried_again_until_its_tasks_have_ended_and_their_files_are_fetched(
    server: Server, failure: errors.UnitaskError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "LONGEST_PAUSE", 0.1)

    async def run() -> None:
        client = Pool()
        job = submit(server, client)
        client.failures = {7: [failure] * 2, 8: [failure], 9: [errors.RateLimited("HTTP 429", status=429)]}
        await work(server, job, client)
        check_done(server, job, client)

        job = submit(server, other := Pool())
        other.failures = {7: [failure] * 99}
        with pytest.raises(type(failure)):
            await work(server, job, other)
        assert other.tries >= 5 - 1 + workers.ATTEMPTS
        assert workers.status(server.url, job)[-2:] == (4, 0)

        job = submit(server, unable := Pool())
        unable.failures = {key: [NOT_FETCHED] * 99 for key in range(25)}
        monkeypatch.setattr(workers, "UNSAVED", 3)
        with pytest.raises(errors.DownloadFailed):
            await work(server, job, unable)
        assert len(unable.sent) < 10

    asyncio.run(run())


def test_work_goes_on_after_a_crash_of_the_database(server: Server) -> None:
    async def run() -> None:
        client = Pool()
        job = submit(server, client)
        client.go_on.clear()
        working = work(server, job, client)
        while len(client.sent) < 2:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(server.stop)
        client.go_on.set()
        await asyncio.to_thread(server.start)
        await working
        check_done(server, job, client)

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_celery_may_run_a_shard_any_number_of_times(server: Server) -> None:
    """The recipe of docs/bulk.md, in Celery's own test worker."""
    celery, harness = pytest.importorskip("celery"), pytest.importorskip("celery.contrib.testing.worker")
    client = Pool()
    job = submit(server, client)
    app = celery.Celery(broker="memory://", backend="cache+memory://")

    @app.task(bind=True, acks_late=True, reject_on_worker_lost=True, max_retries=None)
    def shard(self: Any, job: int, number: int) -> None:
        run = workers.run_shard(server.url, cast("AsyncClient", client), job, number, lease=LEASE)
        if not asyncio.run(run):
            raise self.retry(countdown=LEASE / 4)

    def keep_logging(**_: object) -> None:
        """Without a receiver of this signal, Celery replaces the handlers of this process."""

    signals = pytest.importorskip("celery.signals")
    signals.setup_logging.connect(keep_logging)
    with harness.start_worker(app, perform_ping_check=False, concurrency=3, pool="threads"):
        numbers = range(workers.status(server.url, job).shards)
        results = [shard.delay(job, number) for number in (*numbers, *numbers)]  # each one twice
        for result in results:
            result.get(timeout=60)
    check_done(server, job, client)
