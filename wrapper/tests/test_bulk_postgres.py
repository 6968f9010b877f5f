"""The journal on PostgreSQL: acknowledged rows are there, limits hold over all workers, a lost lease sends nothing."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from unitask import AsyncClient, errors, tasks
from unitask._core.journal import Job, RowState, Verdict

from .journals import ROWS, TOTALS, fill
from .postgres import MODULES, REASON, Server, running_server

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for module in MODULES:
        pytest.importorskip(module, reason=REASON)

from unitask.bulk import jobs, postgres, workers
from unitask.bulk.postgres import Database, PostgresJournal, Shard

SENDING, SENT, DONE, FAILED, UNKNOWN = RowState
SWAPS = [tasks.FaceSwap(target_image=f"https://me.test/{n}.jpg", swap_image="https://me.test/b.jpg") for n in range(25)]
LEASE = 1000.0


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    with closing(Database(server.url)) as database:
        yield database


CLIENT = AsyncClient(api_key="key", base_url="https://api.test")


def a_job(server: Server, **options: Any) -> int:
    """A job of 3 shards: the keys 0 to 9, 10 to 19, 20 to 24."""
    return workers.submit(server.url, CLIENT, SWAPS, shard_size=10, **options)


def take(database: Database, job: int, number: int, owner: str) -> Shard | None:
    values = (owner, LEASE, job, number)
    if not database.run(lambda at: at.execute(workers.TAKE, values).fetchone()):
        return None
    return Shard(job, number, 10 * number, 10, owner, postgres.clock() + LEASE)


def expire(database: Database, job: int) -> None:
    database.run(lambda at: at.execute("UPDATE shard SET lease = now() WHERE job = %s AND NOT done", (job,)))


@pytest.fixture
def journal_of(server: Server, database: Database) -> Iterator[Callable[..., PostgresJournal]]:
    """Take a shard, and open its journal."""
    opened: list[PostgresJournal] = []

    def open_journal(job: int, number: int = 0, owner: str = "a") -> PostgresJournal:
        shard = take(database, job, number, owner)
        assert shard is not None
        opened.append(PostgresJournal(server.url, shard))
        return opened[-1]

    yield open_journal
    for journal in opened:
        journal.close()


JournalOf = Callable[..., PostgresJournal]


def sent(journal: PostgresJournal, key: int, held: int = 10) -> None:
    assert journal.intent(key, f"digest {key}", "{}", held).result() is Verdict.GO
    journal.accepted(key, f"task {journal.shard.first + key}").result()


def test_next_worker_reads_the_rows_of_a_shard(server: Server, database: Database, journal_of: JournalOf) -> None:
    job = a_job(server)
    journal = journal_of(job, 1)
    fill(journal)
    expire(database, job)

    again = journal_of(job, 1, "b")
    assert again.rows() == ROWS
    assert again.totals() == TOTALS
    assert [row.key for row in workers.results(server.url, job)] == [10, 11, 12, 13, 14]


def test_money_limit_holds_over_all_workers(server: Server, journal_of: JournalOf) -> None:
    job = a_job(server, max_usd=0.00001)  # 100 credits
    one, other = journal_of(job, 0), journal_of(job, 1, "b")
    sent(one, 0, held=60)
    assert other.intent(1, "d", "{}", 41).result() is Verdict.OVER
    sent(other, 1, held=40)
    one.ended(0, DONE, "{}", 50).result()
    other.ended(1, UNKNOWN, "{}", 0).result()
    assert other.intent(2, "d", "{}", 11).result() is Verdict.OVER
    assert [future.result() for future in [one.intent(key, "d", "{}", 4) for key in (2, 3, 4)]] == ["go", "go", "over"]
    assert workers.status(server.url, job).totals[:2] == (48, 50)


def test_tasks_of_other_shards_are_not_taken_for_a_lost_one(server: Server, journal_of: JournalOf) -> None:
    job = a_job(server)
    one, other = journal_of(job, 0), journal_of(job, 1)
    sent(one, 3)
    other.intent(0, "d", "{}", 10).result()

    assert [(row.key, row.task_id) for row in other.rows()] == [(0, None), (-7, "task 3")]
    with pytest.raises(errors.JournalError, match="task 3"):
        other.accepted(0, "task 3").result()


UNFIT: dict[str, tuple[Callable[[PostgresJournal], object], str]] = {
    "intent of a row that is there": (lambda journal: journal.intent(0, "e", "{}", 0).result(), "row 0 is in the st"),
    "another task": (lambda journal: journal.accepted(0, "other").result(), "row 0 is in the state 'sent'"),
    "withdrawn after it was accepted": (lambda journal: journal.withdrawn(0).result(), "row 0 is in the state 'sent'"),
    "end of no row": (lambda journal: journal.ended(9, DONE, "", 0).result(), "row 9 is missing"),
    "text that PostgreSQL cannot hold": (lambda journal: journal.ended(0, DONE, "\0", 0).result(), "NUL"),
    "text that is not Unicode": (lambda journal: journal.ended(0, DONE, "\ud800", 0).result(), "surrogates"),
}


@pytest.mark.parametrize(("change", "reason"), UNFIT.values(), ids=UNFIT)
def test_change_that_does_not_fit_fails_alone(
    server: Server, journal_of: JournalOf, change: Callable[[PostgresJournal], object], reason: str
) -> None:
    journal = journal_of(a_job(server))
    sent(journal, 0)
    others = [journal.intent(key, "d", "{}", 1) for key in (1, 2)]
    with pytest.raises(errors.JournalError, match=reason):
        change(journal)

    assert {other.result() for other in others} == {Verdict.GO}
    assert [row.state for row in journal.rows()] == [SENT, SENDING, SENDING]


def test_worker_whose_lease_is_over_sends_nothing_and_keeps_no_id_to_itself(
    server: Server, database: Database, journal_of: JournalOf
) -> None:
    job = a_job(server)
    journal = journal_of(job)
    for key in (0, 1):
        journal.intent(key, "d", "{}", 10).result()
    expire(database, job)
    assert journal.intent(2, "d", "{}", 10).result() is Verdict.LOST
    for change in (journal.withdrawn(0), journal.ended(0, FAILED, "", 0)):
        with pytest.raises(errors.JournalError, match="another worker"):
            change.result()
    journal.accepted(0, "task 0").result()
    journal.shard.until = postgres.clock()
    with pytest.raises(errors.JournalError, match="another worker"):
        journal.check()

    assert [(row.state, row.task_id) for row in journal_of(job, 0, "b").rows()] == [(SENT, "task 0"), (SENDING, None)]


def test_expired_lease_is_not_renewed(server: Server, database: Database) -> None:
    job = a_job(server)
    assert take(database, job, 0, "sleeper") is not None
    assert take(database, job, 0, "b") is None
    expire(database, job)
    assert database.run(lambda at: at.execute(workers.RENEW, (LEASE, "sleeper")).fetchall()) == []
    assert take(database, job, 0, "b") is not None


def test_writes_are_repeated_after_a_crash_of_the_database_and_count_once(
    server: Server, journal_of: JournalOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job(server)
    journal = journal_of(job)
    sent(journal, 0)
    store, commits = postgres.store_rows, [True, False]

    def store_and_crash(at: postgres.Cursor, *values: Any) -> None:
        store(at, *values)
        if commits:
            at.connection.execute("COMMIT" if commits.pop() else "ROLLBACK")
            server.stop()
            server.start()

    monkeypatch.setattr(postgres, "store_rows", store_and_crash)
    futures = [journal.intent(1, "d", "{}", 10), journal.ended(0, DONE, "{}", 7)]
    assert [future.result() for future in futures] == [Verdict.GO, None]
    assert journal.totals()[:2] == (10, 7)


def test_concurrency_and_rate_are_divided_and_tasks_of_a_dead_worker_count(
    server: Server, database: Database, journal_of: JournalOf
) -> None:
    def divide(*mine: Shard) -> list[tuple[int, float]]:
        database.run(lambda at: workers._divide(at, job=job, mine=mine))
        return [(shard.limits.concurrency, shard.limits.per_second) for shard in mine]

    job = a_job(server, concurrency=5, per_second=3.0)
    one = journal_of(job)
    assert divide(one.shard) == [(5, 3.0)]
    for key in range(4):
        sent(one, key)
    other = journal_of(job, 1, "b")
    assert divide(other.shard) == [(0, inf)]  # the first shard has everything until its worker renews the lease
    assert divide(one.shard) == [(3, 1.5)]
    assert divide(other.shard) == [(1, 1.5)]  # four tasks of the first go on
    one.ended(0, DONE, "", 1).result()
    assert divide(other.shard) == [(2, 1.5)]
    database.run(lambda at: at.execute("UPDATE shard SET lease = now() WHERE job = %s AND number = 0", (job,)))
    assert divide(other.shard) == [(2, 3.0)]  # its three tasks go on
    again = journal_of(job, 0, "b")
    assert divide(again.shard, other.shard) == [(0, inf), (2, 1.5)]
    assert divide(again.shard, other.shard) == [(3, 1.5), (2, 1.5)]


def test_journal_refuses_a_client_of_another_account(server: Server, journal_of: JournalOf) -> None:
    journal = journal_of(a_job(server))
    journal.begin(Job(CLIENT._account, "https://api.test"))
    with pytest.raises(errors.InvalidInput, match=r"^nothing was sent: .* at https://api\.test, .* https://b\.test"):
        journal.begin(Job("another", "https://b.test"))


def test_tasks_come_back_from_the_database_as_they_were(server: Server, database: Database) -> None:
    given = [SWAPS[0], tasks.Raw("model", "type", {"prompt": "ü"})]
    job = workers.submit(server.url, CLIENT, iter(given), timeout=5, max_usd=0.5)
    shard = Shard(job, 0, 0, 10, "", 0.0)
    assert database.run(lambda at: jobs.inputs_of(at, shard)) == (given, {"timeout": 5, "max_usd": 0.5})
    with pytest.raises(errors.InvalidInput, match="no option 'time_out'"):
        workers.submit(server.url, CLIENT, given, time_out=5)
    for wrong in (tasks.FaceSwap(target_image=b"bytes", swap_image="b.jpg"), "text"):
        with pytest.raises(errors.InvalidInput, match="nothing was stored"):
            workers.submit(server.url, CLIENT, [*given, wrong])  # type: ignore[list-item]  # it is wrong


if TYPE_CHECKING:
    from unitask._core.journal import Journal

    def is_a_journal(journal: PostgresJournal) -> Journal:
        return journal
