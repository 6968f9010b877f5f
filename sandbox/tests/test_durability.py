"""What outlives the process, and who may use what it left."""

import errno
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from unitask_sandbox import Sandbox, store
from unitask_sandbox.failures import CannotStart

from .local import Http, HttpWith, SandboxWith, encoded, face_swap

FACE_SWAP = encoded(face_swap())
LEFT_BEHIND = "00000000-0000-4000-8000-000000000000.png"


def test_folder_in_use_is_refused_until_it_is_free(sandbox_with: SandboxWith, tmp_path: Path) -> None:
    first = sandbox_with(data=tmp_path)
    with pytest.raises(CannotStart, match=r"in use by another sandbox: stop that one, or give"):
        sandbox_with(data=tmp_path)
    first.close()

    assert sandbox_with(data=tmp_path).balance("sandbox") == 10.0


def test_files_that_nothing_lists_are_removed_at_the_start(sandbox_with: SandboxWith, tmp_path: Path) -> None:
    first = sandbox_with(data=tmp_path)
    task_id = first.accept("sandbox", FACE_SWAP).task_id
    first.advance()
    first.close()
    files = tmp_path / "files"
    (files / "ephemeral").mkdir()
    left = [files / LEFT_BEHIND, files / f"{LEFT_BEHIND}.part", files / "ephemeral" / LEFT_BEHIND]
    for path in (*left, files / "notes.txt"):
        path.write_bytes(b"half a")
    output = sandbox_with(data=tmp_path).get("sandbox", task_id).output

    assert not [path for path in left if path.exists()]
    assert output is not None
    assert {path.name for path in files.iterdir()} == {output["image_url"]["$file"], "notes.txt", "ephemeral"}


def test_file_that_could_not_be_written_whole_is_not_served(
    sandbox_with: SandboxWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    sandbox = sandbox_with(data=tmp_path)
    task_id = sandbox.accept("sandbox", FACE_SWAP).task_id
    monkeypatch.setattr("os.fsync", full)
    sandbox.advance()

    assert sandbox.get("sandbox", task_id).status == "failed"
    assert not list((tmp_path / "files").iterdir())


# What is damaged.

PAGE = 4096
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "emptied": (lambda _: b"", "it has no tables, and it had"),
    "cut-in-its-head": (lambda data: data[:50], "malformed"),
    "text": (lambda _: b"{}\n", "file is not a database"),
    "no-json": (lambda data: data.replace(b'"raw_message"', b'!raw_message"'), "of the table tasks is no JSON"),
    "no-utf-8": (lambda data: data.replace(b"an endpoint", b"an \xff\xfe\xfd\xfcoint"), "is damaged"),
}


@pytest.fixture
def used(sandbox_with: SandboxWith, tmp_path: Path) -> Path:
    """A data folder with tasks in it."""
    sandbox = sandbox_with(data=tmp_path / "data")
    for number in range(20):
        config = {"webhook_config": {"endpoint": f"an endpoint {number} " * 10}}
        sandbox.accept("sandbox", encoded(face_swap(config=config)))
    sandbox.advance()
    sandbox.close()
    return tmp_path / "data"


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_database_is_refused_and_left_as_it_is(sandbox_with: SandboxWith, used: Path, name: str) -> None:
    damage, words = DAMAGES[name]
    path = used / "sandbox.sqlite3"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    damaged = path.read_bytes()
    assert damaged != whole
    with pytest.raises(CannotStart, match=words) as caught:
        sandbox_with(data=used)

    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)
    assert str(path) in str(caught.value)
    assert "move it away to begin anew, or use another folder" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == damaged or not damaged  # SQLite writes a head into an empty file
    path.write_bytes(whole)
    assert sandbox_with(data=used).history("sandbox")["total"] == 20


@pytest.mark.parametrize("log", [None, b"\xa5" * 50_000], ids=["gone", "garbage"])
def test_lost_log_of_a_crash_is_refused(sandbox_with: SandboxWith, tmp_path: Path, log: bytes | None) -> None:
    sandbox = sandbox_with(data=tmp_path / "data")
    sandbox.accept("sandbox", encoded(face_swap()))
    shutil.copytree(
        tmp_path / "data", crashed := tmp_path / "crashed", ignore=shutil.ignore_patterns("*.lock*", "*-shm")
    )
    place = crashed / "sandbox.sqlite3-wal"
    whole = place.read_bytes()
    place.unlink() if log is None else place.write_bytes(log)
    with pytest.raises(CannotStart, match="it has no tables, and it had"):
        sandbox_with(data=crashed)

    for left in crashed.glob("sandbox.sqlite3-*"):
        left.unlink()
    place.write_bytes(whole)
    assert sandbox_with(data=crashed).history("sandbox")["total"] == 1


def test_garbage_in_any_page_is_refused(sandbox_with: SandboxWith, used: Path) -> None:
    path = used / "sandbox.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("VACUUM")  # what lies in a page that is not in use does no harm
    whole = path.read_bytes()
    for place in range(PAGE, len(whole), PAGE):
        path.write_bytes(whole[:place] + b"\xa5" * PAGE + whole[place + PAGE :])
        with pytest.raises(CannotStart, match="is damaged"):
            sandbox_with(data=used)


def another_database(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "sandbox.sqlite3")) as db:
        db.execute("CREATE TABLE notes (text)")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: folder.write_bytes(b"a file"), "the data folder .* cannot be used: .* exists"),
        (lambda folder: made(folder / "sandbox.sqlite3").mkdir(), "sandbox.sqlite3"),
        (lambda folder: made(folder / "sandbox.lock").mkdir(), "sandbox.lock cannot be used"),
        (lambda folder: made(folder / "sandbox.lock").write_bytes(b"x" * 5000), "sandbox.lock is damaged"),
        (lambda folder: made(folder / "files").write_bytes(b""), "the data folder .* cannot be used: .*files"),
        (lambda folder: another_database(made(folder / "x").parent), "it has the tables notes, and none of a sandbox"),
    ],
    ids=["file", "folder-as-database", "folder-as-lock", "lock", "file-as-folder", "of-another-program"],
)
def test_folder_that_cannot_be_used_is_refused(
    sandbox_with: SandboxWith, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(tmp_path / "data")
    for _ in range(2):
        with pytest.raises(CannotStart, match=words) as caught:
            sandbox_with(data=tmp_path / "data")
        assert "use another folder" in str(caught.value)


def made(path: Path) -> Path:
    path.parent.mkdir()
    return path


def test_folder_of_a_first_start_that_was_killed_is_used(sandbox_with: SandboxWith, tmp_path: Path) -> None:
    (tmp_path / "sandbox.sqlite3").touch()

    assert sandbox_with(data=tmp_path).balance("sandbox") == 10.0


# What another process holds.


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Holds the database as another program would, until the test ends or the connection is closed."""
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.01)
    with ExitStack() as held:

        def hold() -> sqlite3.Connection:
            other = held.enter_context(closing(sqlite3.connect(tmp_path / "sandbox.sqlite3", isolation_level=None)))
            other.execute("BEGIN IMMEDIATE")
            return other

        yield hold


@pytest.mark.parametrize(
    ("method", "path", "body", "key"),
    [
        ("POST", "/api/v1/task", face_swap(), "sandbox"),
        ("POST", "/api/ephemeral_resource", {"file_name": "a.png", "file_data": "PHA+"}, "sandbox"),
        ("GET", "/account/info", None, "a new key"),
    ],
)
def test_database_held_by_another_process_is_said_with_503(
    http_with: HttpWith, tmp_path: Path, locked: Any, method: str, path: str, body: Any, key: str
) -> None:
    http = http_with(data=tmp_path, any_key=True)
    other = locked()
    answer = http(method, path, headers={"x-api-key": key}, json=body)
    arrived = [(arrival.path, arrival.status) for arrival in http.sandbox.arrivals]
    balance = http.sandbox.balance("sandbox")
    other.close()

    assert answer.status_code == 503
    assert answer.json()["code"] == 503
    assert "the database of the sandbox is locked: another process holds it" in answer.json()["message"]
    assert "was not carried out, send it again later" in answer.json()["message"]
    assert balance == 10.0
    assert arrived == [] or arrived == [(path, 503)]
    assert http(method, path, headers={"x-api-key": key}, json=body).status_code == 200


def test_look_waits_for_no_other_process(http_with: HttpWith, tmp_path: Path, locked: Any) -> None:
    http = http_with(data=tmp_path, any_key=True)
    task_id = http.create()
    locked()

    assert http.task(task_id)["status"] == "pending"
    assert http("GET", f"/api/v1/task/{task_id}", headers={"x-api-key": "a new key"}).status_code == 404


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk of the sandbox is full"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot use its files: Read-only file system"),
        (sqlite3.DatabaseError("database disk image is malformed"), "cannot use its database: database disk image"),
    ],
)
def test_trouble_of_the_disk_is_said_with_503(
    http: Http, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(http.sandbox._files, "_write", fail)
    answer = http("POST", "/api/ephemeral_resource", json={"file_name": "a.png", "file_data": "PHA+"})

    assert answer.status_code == 503
    assert words in answer.json()["message"]


def test_transaction_that_could_not_end_is_no_burden_of_the_next(sandbox: Sandbox) -> None:
    pages = sandbox._store._writer.execute("PRAGMA page_count").fetchone()[0]
    sandbox._store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):  # noqa: PT012 - which one it is, is the file's choice
        for _ in range(100):
            sandbox.accept("sandbox", FACE_SWAP)
    before = sandbox.balance("sandbox")
    sandbox._store._writer.execute("PRAGMA max_page_count = 100000")
    sandbox.accept("sandbox", FACE_SWAP)

    assert before - sandbox.balance("sandbox") == pytest.approx(0.01)


def test_database_held_at_the_start_is_refused(sandbox_with: SandboxWith, tmp_path: Path, locked: Any) -> None:
    sandbox_with(data=tmp_path).close()
    other = locked()
    with pytest.raises(CannotStart, match=r"sandbox\.sqlite3 is held by another program: end that one, or use another"):
        sandbox_with(data=tmp_path)
    other.close()

    assert sandbox_with(data=tmp_path).balance("sandbox") == 10.0
