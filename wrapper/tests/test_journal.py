"""The journal of a job: what was acknowledged is there after any end, and an intent that failed is not."""

import asyncio
import errno
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from unitask import errors
from unitask._core.journal import Job, RowState, Verdict
from unitask.bulk import Journal
from unitask.bulk.journal import RESERVE, JournalReader

from .journals import ROWS, TOTALS, fill

SENDING, SENT, DONE, FAILED, UNKNOWN = RowState
JOB = Job("account", "https://api.test", limit=100)
WRITER = """
import sys
from unitask.bulk import Journal
with Journal(sys.argv[1]) as journal:
    for key in range(int(sys.argv[2]), 10**9):
        futures = [journal.intent(key, "d", "{}", 1), journal.accepted(key, f"task {key}")]
        for future in futures:
            future.result()
        print(key, flush=True)
"""


@pytest.fixture(params=["job.db"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as journal:
        journal.begin(JOB)
        yield journal


def sent(journal: Journal, key: int, held: int = 10) -> None:
    assert journal.intent(key, f"digest {key}", "{}", held).result() is Verdict.GO
    journal.accepted(key, f"task {key}").result()


def test_rows_and_totals_are_there_when_the_file_is_opened_again(journal: Journal, path: Path) -> None:
    fill(journal)
    journal.close()

    with Journal(path) as again:
        assert list(again.rows()) == ROWS
        assert again.totals() == TOTALS
        assert again.job == JOB


@pytest.mark.parametrize("path", ["a folder?x=1/100 % ü#.db"], indirect=True)
def test_any_name_of_a_file_is_usable(path: Path) -> None:
    path.parent.mkdir()
    with Journal(path) as journal:
        sent(journal, 0)
    assert path.is_file()
    assert [row.key for row in JournalReader(path).rows()] == [0]


def test_rows_are_read_in_pages(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitask.bulk.journal.PAGE", 2)
    for key in (3, 0, 2, 1):
        sent(journal, key)

    assert [row.key for row in journal.rows()] == [0, 1, 2, 3]


def test_money_limit_holds_over_what_is_held_and_spent(journal: Journal) -> None:
    sent(journal, 0, held=60)
    assert journal.intent(1, "d", "{}", 41).result() is Verdict.OVER
    sent(journal, 1, held=40)
    journal.ended(0, DONE, "{}", 50).result()
    journal.ended(1, UNKNOWN, "{}", 0).result()
    assert journal.intent(2, "d", "{}", 11).result() is Verdict.OVER
    assert journal.intent(2, "d", "{}", 10).result() is Verdict.GO
    assert journal.totals()[:2] == (50, 50)


def test_resumed_job_keeps_its_limit_unless_another_is_given(journal: Journal, path: Path) -> None:
    sent(journal, 0, held=100)
    journal.close()
    with Journal(path) as again:
        again.begin(Job(JOB.account, JOB.base_url))
        assert again.intent(1, "d", "{}", 1).result() is Verdict.OVER
        again.begin(JOB._replace(limit=101))
        assert again.intent(1, "d", "{}", 1).result() is Verdict.GO
        assert again.job == JOB._replace(limit=101)


def test_job_of_another_account_is_refused(journal: Journal) -> None:
    with pytest.raises(
        errors.InvalidInput, match=r"^nothing was sent: .* at https://api\.test, and .* https://b\.test"
    ):
        journal.begin(Job("another", "https://b.test"))


UNFIT: dict[str, tuple[Callable[[Journal], object], str]] = {
    "intent twice": (lambda journal: journal.intent(0, "d", "{}", 0).result(), "row 0 is in the state 'sent'"),
    "accepted twice": (lambda journal: journal.accepted(0, "other").result(), "row 0 is in the state 'sent'"),
    "withdrawn after it was accepted": (lambda journal: journal.withdrawn(0).result(), "row 0 is in the state 'sent'"),
    "end of no row": (lambda journal: journal.ended(9, DONE, "", 0).result(), "row 9 is missing"),
    "text that SQLite cannot hold": (lambda journal: journal.ended(0, DONE, "\ud800", 0).result(), "surrogates"),
}


@pytest.mark.parametrize(("change", "reason"), UNFIT.values(), ids=UNFIT)
def test_change_that_does_not_fit_fails_alone(
    journal: Journal, change: Callable[[Journal], object], reason: str
) -> None:
    sent(journal, 0)
    with pytest.raises(errors.JournalError, match=reason):
        change(journal)
    sent(journal, 1)

    assert [row.state for row in journal.rows()] == [SENT, SENT]


def test_changes_that_wait_are_written_in_one_transaction(journal: Journal, path: Path) -> None:
    commits: list[str] = []
    journal._db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        futures = [journal.intent(key, "d", "{}", 0) for key in range(200)]
        assert not any(future.done() for future in futures)
        other.execute("ROLLBACK")
    assert {future.result() for future in futures} == {Verdict.GO}
    assert len(commits) <= 2


def test_change_is_written_even_if_its_caller_is_cancelled(journal: Journal) -> None:
    async def call() -> None:
        waiting = asyncio.ensure_future(asyncio.wrap_future(journal.accepted(0, "task 0")))
        waiting.cancel()
        await asyncio.wait([waiting])

    journal.intent(0, "d", "{}", 0).result()
    asyncio.run(call())
    journal.close()
    assert [row.task_id for row in journal.rows()] == ["task 0"]


def test_one_process_writes_and_others_read(journal: Journal, path: Path) -> None:
    sent(journal, 0)
    command = [sys.executable, "-c", WRITER, str(path), "1"]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert second.returncode == 1
    assert f"JournalError: another process, or another Journal of this one, runs the job of {path}" in second.stderr
    with pytest.raises(errors.JournalError, match="another Journal of this one"):
        Journal(path)
    assert JournalReader(path).totals().counts[SENT] == 1
    journal.close()
    with Journal(path) as again:
        sent(again, 1)


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE task (key)")


def other_version(path: Path) -> None:
    Journal(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")


def damaged(path: Path) -> None:
    with Journal(path) as journal:
        for key in range(200):
            journal.intent(key, "d" * 64, "x" * 300, 0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\xa5" * (len(content) - len(content) // 2)
    path.write_bytes(content)


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (
        lambda path: path.write_text("key;state\n" * 100),
        "is not a database: it is damaged, or is not a journal",
    ),
    "another database": (other_database, "is another database, not a journal of unitask. Give another file"),
    "another version": (other_version, "is a journal of version 7, and this unitask reads version 1"),
    "a damaged file": (damaged, "is damaged: "),
    "a shortened file": (lambda path: (damaged(path), path.write_bytes(path.read_bytes()[:9000])), "it is damaged"),
    "a folder": (lambda path: path.mkdir(), "give a file in a folder that exists"),
    "no folder": (lambda path: path.parent.rmdir(), "give a file in a folder that exists"),
    "a read-only folder": (lambda path: path.symlink_to("/sys/kernel/job.db"), "let this process write both"),
}


@pytest.mark.parametrize(("make", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_file_that_cannot_be_used_is_refused_and_left_alone(
    path: Path, make: Callable[[Path], object], reason: str
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(errors.JournalError) as caught:
        Journal(path)
    assert reason in str(caught.value)
    assert before is None or path.read_bytes() == before


FAILURES = {
    "PRAGMA max_page_count = 1": "is full: make room on the disk. Then start the job again with this file",
    "PRAGMA query_only = ON": "readonly database: let this process write the file and its folder",
}


@pytest.mark.parametrize(("failure", "reason"), FAILURES.items(), ids=["a full disk", "a read-only file"])
def test_what_could_not_be_written_is_written_later_and_a_failed_intent_never(
    journal: Journal, failure: str, reason: str
) -> None:
    sent(journal, 0)
    journal._db.execute(failure)
    futures = [
        journal.ended(0, DONE, "x" * 100_000, 7),
        journal.intent(1, "d", "x" * 100_000, 1),
        journal.written(0, ["a.jpg"]),
    ]
    assert reason in str(futures[0].exception())
    assert isinstance(futures[1].exception(), errors.JournalError)
    journal._db.execute("PRAGMA max_page_count = 100000")
    journal._db.execute("PRAGMA query_only = OFF")
    journal.close()

    (row,) = journal.rows()
    assert (row.key, row.state, row.spent, row.files) == (0, DONE, 7, ("a.jpg",))


def test_full_disk_has_room_for_the_changes_of_tasks_that_were_sent(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def released() -> bool:
        journal._db.execute("PRAGMA max_page_count = 100000")  # as if the reserve had been on this disk
        return release()

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "no space")

    sent(journal, 0)
    release, reserve = journal._release, Path(f"{path}-reserve")
    assert reserve.stat().st_size == RESERVE
    monkeypatch.setattr(journal, "_release", released)
    journal._db.execute("PRAGMA max_page_count = 1")
    journal.ended(0, DONE, "x" * 100_000, 7).result()

    assert not reserve.exists()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert "make room on the disk" in str(journal.intent(1, "d", "{}", 1).exception())
    sent(journal, 1)
    journal.close()
    assert not reserve.exists()


def test_change_that_was_kept_and_does_not_fit_any_more_stops_no_other(journal: Journal) -> None:
    journal.intent(0, "d", "{}", 0).result()
    journal._db.execute("PRAGMA query_only = ON")
    assert journal.accepted(0, "task 0").exception()
    journal._db.execute("PRAGMA query_only = OFF")
    journal._db.execute("UPDATE task SET state = 'done'")  # as if its transaction had been written

    assert journal.intent(1, "d", "{}", 0).result() is Verdict.GO


@pytest.mark.parametrize("deleted", ["job.db", "job.db-wal", "job.db-lock", "job.db*"])
def test_file_that_is_deleted_stops_the_job_and_is_written_again(journal: Journal, path: Path, deleted: str) -> None:
    journal.intent(0, "d", "{}", 0).result()
    for file in path.parent.glob(deleted):
        file.unlink()
    assert "was deleted or replaced while the job runs" in str(journal.intent(1, "d", "{}", 0).exception())
    assert journal.accepted(0, "task 0").exception()
    journal.close()

    assert [(row.key, row.task_id) for row in JournalReader(path).rows()] == [(0, "task 0")]


def test_file_that_is_replaced_is_left_alone_and_the_rows_are_beside_it(path: Path) -> None:
    journal = Journal(path)
    sent(journal, 0)
    path.unlink()
    path.write_text("another file")
    with pytest.raises(errors.JournalError, match=f"its rows are in {path}-copy"):
        journal.close()

    assert path.read_text() == "another file"
    assert [row.task_id for row in JournalReader(f"{path}-copy").rows()] == ["task 0"]


def test_closed_journal_takes_no_changes(journal: Journal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(errors.JournalError, match="is closed: open it again"):
        journal.intent(0, "d", "{}", 0)


def test_acknowledged_rows_survive_a_kill(path: Path) -> None:
    draw, acknowledged = random.Random(1), -1
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(path), str(acknowledged + 1000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            lines = [writer.stdout.readline() for _ in range(draw.randrange(1, 60))]
            writer.kill()
            lines += writer.stdout.readlines()
        acknowledged = int([line for line in lines if line.endswith("\n")][-1])
        with Journal(path) as again:
            rows = {row.key: row for row in again.rows()}
            assert {rows[int(line)].task_id for line in lines} == {f"task {int(line)}" for line in lines}
            assert again.totals().held == len(rows)
