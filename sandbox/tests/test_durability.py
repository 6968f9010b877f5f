"""What outlives the process, also one that is killed, and which data folders are refused."""

import errno
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask_sandbox import Sandbox, Settings, store
from unitask_sandbox.failures import CannotStart

from .local import CREATE, KEY, HttpWith, SandboxWith, base64_of, encoded, face_swap, fail_at_first, simulated

FACE_SWAP = encoded(face_swap())
UPLOAD = "/api/ephemeral_resource"


# Kills.

KILLS = 12
REQUESTS = 12  # at most, between two kills
DRAWING = simulated(prompt="a lighthouse", width=64, height=64)
PRICE = 15_000
ENDED = {"completed", "failed", "cancelled"}
# Each server is forked off a process that has imported everything.
SERVERS = """
import os, sys
from pathlib import Path
from unitask_api import contract
from unitask_sandbox import Settings, serve
contract.document()
settings = Settings(data=Path(sys.argv[1]), speed=20, keys={"sandbox": 1000.0})
for _ in sys.stdin:
    pid = os.fork()
    if not pid:
        serve(settings, port=0, on_ready=lambda url: print(os.getpid(), url, flush=True))
    os.waitpid(pid, 0)
    print("dead", flush=True)
"""


@dataclass
class Answers:
    """What servers that were killed have answered."""

    created: list[str] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    ended: dict[str, Any] = field(default_factory=dict)  # status and output of tasks that were seen to have ended
    files: dict[str, bytes] = field(default_factory=dict)

    def send(self, http: httpx.Client, draw: random.Random) -> None:
        task_id = draw.choice(self.created) if self.created else ""
        kind = draw.choice(["create", "cancel", "upload", "poll"]) if task_id else "create"
        if kind == "create":
            self.created.append(http.post(CREATE, json=DRAWING).json()["data"]["task_id"])
        elif kind == "upload":
            content = draw.randbytes(20_000)
            body = {"file_name": "a.png", "file_data": base64_of(content)}
            self.files[http.post(UPLOAD, json=body).json()["data"]["url"].partition("/files/")[2]] = content
        elif kind == "cancel":
            if http.delete(f"{CREATE}/{task_id}").status_code == 200:
                self.cancelled.add(task_id)
        else:
            task = http.get(f"{CREATE}/{task_id}").json()["data"]
            if task["status"] in ENDED:
                output = re.sub(r"http://[^/]+", "", json.dumps(task["output"]))  # each server has another port
                assert self.ended.setdefault(task_id, (task["status"], output)) == (task["status"], output)


def test_killed_server_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    draw, answers = random.Random(20261129), Answers()
    command = [sys.executable, "-c", SERVERS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as servers:
        assert servers.stdin
        assert servers.stdout
        for _ in range(KILLS):
            servers.stdin.write("\n")
            servers.stdin.flush()
            pid, url = servers.stdout.readline().split()
            with httpx.Client(base_url=url, headers=KEY, timeout=60) as http:
                for _ in range(draw.randint(1, REQUESTS)):
                    answers.send(http, draw)
                killer = subprocess.Popen(["kill", "-KILL", pid])
                with suppress(httpx.TransportError):  # its answer may be lost; a task of it is one more
                    http.post(CREATE, json=DRAWING)
                killer.wait()
            assert servers.stdout.readline() == "dead\n"
        servers.stdin.close()
    with closing(Sandbox(Settings(data=tmp_path, autorun=False, clock=lambda: time.time() + 1000))) as sandbox:
        while sandbox.advance():
            pass
        check(sandbox, answers)


def check(sandbox: Sandbox, answers: Answers) -> None:
    rows = sandbox._store._rows("SELECT task_id FROM tasks")
    tasks = {task_id: sandbox.get("sandbox", task_id) for (task_id,) in rows}
    folder = sandbox._folder / "files"
    moved = [(task_id, credits_) for task_id, _, credits_ in sandbox._store.ledger(next(iter(tasks.values())).account)]
    expected = [(task_id, -PRICE) for task_id in tasks]
    expected += [(task_id, PRICE) for task_id, task in tasks.items() if task.status != "completed"]

    assert set(answers.created) <= tasks.keys()
    assert {task.status for task in tasks.values()} <= {"completed", "cancelled"}
    assert {tasks[task_id].status for task_id in answers.cancelled} <= {"cancelled"}
    for task_id, (status, output) in answers.ended.items():
        assert (tasks[task_id].status, json.dumps(tasks[task_id].body("")["output"])) == (status, output)
    assert {name: sandbox.file(name).read_bytes() for name in answers.files} == answers.files
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == sandbox._store.files()
    assert len(sandbox._store.files()) >= sum(task.status == "completed" for task in tasks.values())
    assert sorted(moved) == sorted(expected)


# Files.


def test_files_that_are_not_listed_are_removed_at_the_start(sandbox_with: SandboxWith, tmp_path: Path) -> None:
    (tmp_path / "sandbox.sqlite3").touch()  # left by a first start that was killed
    first = sandbox_with(data=tmp_path)
    task_id = first.accept("sandbox", FACE_SWAP).task_id
    first.advance()
    assert first._store._rows("PRAGMA synchronous") == [(2,)]  # FULL: a power failure loses nothing
    first.close()
    files, name = tmp_path / "files", "00000000-0000-4000-8000-000000000000.png"
    (files / "ephemeral").mkdir()
    for path in (name, f"{name}.part", f"ephemeral/{name}", "notes.txt"):
        (files / path).write_bytes(b"half a")
    output: Any = sandbox_with(data=tmp_path).get("sandbox", task_id).output

    left = {path.name for path in files.rglob("*")}
    assert left == {output["image_url"]["$file"], "notes.txt", "ephemeral"}


def test_file_that_could_not_be_written_whole_is_not_served(
    sandbox_with: SandboxWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = sandbox_with(data=tmp_path)
    task_id = sandbox.accept("sandbox", FACE_SWAP).task_id
    fail_at_first(monkeypatch, os, "fsync", OSError(errno.EIO, "Input/output error"))
    sandbox.advance()

    assert sandbox.get("sandbox", task_id).status == "failed"
    assert not list((tmp_path / "files").iterdir())


# Damage.

PAGE = 4096
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "Page 2": lambda data: data[:PAGE] + b"\xa5" * PAGE + data[2 * PAGE :],
    "it has no tables, and it had": lambda _: b"",
    "malformed": lambda data: data[:50],
    "of the table tasks is no": lambda data: data.replace(b'"raw_message"', b'!raw_message"'),
    "is damaged": lambda data: data.replace(b"an endpoint", b"an \xff\xfe\xfd\xfcoint"),
}


@pytest.mark.parametrize("words", DAMAGES)
def test_damaged_database_is_refused_and_left_as_it_is(sandbox_with: SandboxWith, tmp_path: Path, words: str) -> None:
    used = sandbox_with(data=tmp_path)
    for number in range(20):
        config = {"webhook_config": {"endpoint": f"an endpoint {number} " * 10}}
        used.accept("sandbox", encoded(face_swap(config=config)))
    used.advance()
    used.close()
    path = tmp_path / "sandbox.sqlite3"
    whole = path.read_bytes()
    path.write_bytes(damaged := DAMAGES[words](whole))
    with pytest.raises(CannotStart, match=words) as caught:
        sandbox_with(data=tmp_path)

    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)
    assert f"{path} is damaged" in str(caught.value)
    assert "move it away to begin anew, or use another folder" in str(caught.value)
    assert damaged != whole
    assert path.read_bytes() == damaged or not damaged  # SQLite writes a head into an empty file
    path.write_bytes(whole)
    assert sandbox_with(data=tmp_path).history("sandbox")["total"] == 20


def test_lost_log_of_a_crash_is_refused(sandbox_with: SandboxWith, tmp_path: Path) -> None:
    sandbox_with(data=tmp_path / "data").accept("sandbox", FACE_SWAP)
    crashed = tmp_path / "crashed"
    shutil.copytree(tmp_path / "data", crashed, ignore=shutil.ignore_patterns("*.lock*", "*-shm"))
    place = crashed / "sandbox.sqlite3-wal"
    whole = place.read_bytes()
    place.unlink()
    with pytest.raises(CannotStart, match="it has no tables, and it had"):
        sandbox_with(data=crashed)

    for left in crashed.glob("sandbox.sqlite3-*"):
        left.unlink()
    place.write_bytes(whole)
    assert sandbox_with(data=crashed).history("sandbox")["total"] == 1


def database(*statements: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "sandbox.sqlite3")) as db:
            for statement in statements:
                db.execute(statement)

    return write


ANOTHER_VERSION = ("CREATE TABLE accounts (a)", "CREATE TABLE tasks (a)", "PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda folder: (folder.rmdir(), folder.write_bytes(b"a file")),
            "the data folder .* cannot be used: .* exists",
        ),
        (lambda folder: (folder / "sandbox.sqlite3").mkdir(), "sandbox.sqlite3"),
        (lambda folder: (folder / "sandbox.lock").write_bytes(b"x" * 5000), "sandbox.lock is damaged"),
        (database("CREATE TABLE notes (text)"), "it has the tables notes, and none of a sandbox"),
        (database(*ANOTHER_VERSION), r"sandbox.sqlite3: .* version 99, .*; use the unitask that wrote it"),
    ],
    ids=["file", "folder-as-database", "lock", "another-program", "another-version"],
)
def test_folder_that_cannot_be_used_is_refused(
    sandbox_with: SandboxWith, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    (tmp_path / "data").mkdir()
    spoil(tmp_path / "data")
    for _ in range(2):
        with pytest.raises(CannotStart, match=words) as caught:
            sandbox_with(data=tmp_path / "data")
        assert "use another folder" in str(caught.value)


# Other processes, and the disk.


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Locks the database as another program would, until the test ends or the connection is closed."""
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.01)
    with ExitStack() as held:

        def lock() -> sqlite3.Connection:
            other = held.enter_context(closing(sqlite3.connect(tmp_path / "sandbox.sqlite3", isolation_level=None)))
            return other.execute("BEGIN IMMEDIATE").connection

        yield lock


def test_locked_database_and_full_disk_are_503(
    http_with: HttpWith, tmp_path: Path, locked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = http_with(data=tmp_path)
    task_id = http.create()
    other, file = locked(), {"file_name": "a.png", "file_data": "PHA+"}
    refused = [http("POST", CREATE, json=face_swap()), http("POST", UPLOAD, json=file)]
    polls = [http("GET", f"{CREATE}/{task_id}", headers={"x-api-key": one}) for one in ("sandbox", "a new key")]
    balance = http.sandbox.balance("sandbox")
    other.close()

    for answer in refused:
        assert answer.status_code == 503
        assert "database is locked; the request was not carried out, send it again later" in answer.json()["message"]
    assert balance == 9.99
    assert [poll.status_code for poll in polls] == [200, 401]
    assert http.sandbox.arrivals[1].status == 503
    assert http("POST", CREATE, json=face_swap()).status_code == 200
    full = OSError(errno.ENOSPC, "No space left on device", "/a/path")
    fail_at_first(monkeypatch, http.sandbox._files, "_write", full)
    answer = http("POST", UPLOAD, json=file)
    assert answer.status_code == 503
    assert "cannot use its disk: No space left on device; the request was not" in answer.json()["message"]


def test_transaction_that_could_not_end_does_not_break_the_next(sandbox: Sandbox) -> None:
    pages = sandbox._store._writer.execute("PRAGMA page_count").fetchone()[0]
    sandbox._store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):  # noqa: PT012 - which one it is, is the file's choice
        for _ in range(100):
            sandbox.accept("sandbox", FACE_SWAP)
    before = sandbox.balance("sandbox")
    sandbox._store._writer.execute("PRAGMA max_page_count = 100000")
    sandbox.accept("sandbox", FACE_SWAP)

    assert before - sandbox.balance("sandbox") == pytest.approx(0.01)


def test_folder_in_use_is_refused_until_it_is_free(sandbox_with: SandboxWith, tmp_path: Path, locked: Any) -> None:
    first = sandbox_with(data=tmp_path)
    with pytest.raises(CannotStart, match=r"in use by another sandbox: stop that one, or give"):
        sandbox_with(data=tmp_path)
    first.close()
    other = locked()
    with pytest.raises(CannotStart, match=r"sandbox\.sqlite3 is held by another program: end that one, or use another"):
        sandbox_with(data=tmp_path)
    other.close()

    assert sandbox_with(data=tmp_path).balance("sandbox") == 10.0
