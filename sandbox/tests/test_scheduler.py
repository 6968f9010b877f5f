"""From accepted to ended: states, times and what a restart leaves."""

import errno
import math
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from unitask_sandbox import Sandbox, threads
from unitask_sandbox.create_request import NO_WEBHOOK
from unitask_sandbox.engines import ENGINES
from unitask_sandbox.failures import CannotStart, Refusal
from unitask_sandbox.task import NOT_YET
from unitask_sandbox.threads import Autorun

from .local import NOW, Clock, SandboxWith, encoded, face_swap, fake_swap

FACE_SWAP = encoded(face_swap())
SIMULATED = encoded({"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a lighthouse"}})


def accept(sandbox: Sandbox, **changes: Any) -> str:
    return sandbox.accept("sandbox", encoded(face_swap(**changes))).task_id


def times(sandbox: Sandbox, task_id: str) -> list[str]:
    meta = sandbox.get("sandbox", task_id).body("")["meta"]
    return [meta["created_at"], meta["started_at"], meta["ended_at"]]


def test_task_takes_its_drawn_time_at_real_speed(sandbox_with: SandboxWith, clock: Clock) -> None:
    sandbox = sandbox_with(speed="real")
    task = sandbox.accept("sandbox", FACE_SWAP)
    assert task.due_at is not None
    seen = []
    for moment in (task.due_at - 0.001, task.due_at, task.due_at + task.seconds - 0.001, task.due_at + task.seconds):
        clock.now = moment
        left = sandbox.advance()
        seen.append((sandbox.get("sandbox", task.task_id).status, left))

    assert seen == [("pending", True), ("processing", True), ("processing", True), ("completed", False)]


def test_speed_divides_the_times(sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: "one-id")
    real = sandbox_with(speed="real").accept("sandbox", FACE_SWAP)
    fast = sandbox_with(speed=4).accept("sandbox", FACE_SWAP)

    assert fast.seconds == pytest.approx(real.seconds / 4)
    assert (fast.due_at or 0) - NOW == pytest.approx(((real.due_at or 0) - NOW) / 4, rel=1e-4)


def test_bug_of_an_engine_or_of_the_sandbox_fails_its_task_alone(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fetch(url: str) -> bytes:
        raise RuntimeError("a bug in fetch")

    def broken(given: Any) -> Any:
        return fake_swap(given) if given["target_image"] != b"bad" else {}["target"]

    sandbox = sandbox_with(fetch=fetch)
    monkeypatch.setitem(ENGINES, ("Qubico/image-toolkit", "face-swap"), broken)
    addresses = {"target_image": "http://x.test/a.png", "swap_image": "http://x.test/b.png"}
    raises, breaks, good = accept(sandbox, target=b"bad"), accept(sandbox, input=addresses), accept(sandbox)
    sandbox.advance()

    assert sandbox.get("sandbox", good).status == "completed"
    assert sandbox.get("sandbox", raises).error["raw_message"].endswith("broken raised KeyError: 'target'")
    assert sandbox.get("sandbox", breaks).error["raw_message"] == "the sandbox broke: RuntimeError: a bug in fetch"
    assert "a bug in fetch" in caplog.text


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        ({}, 0),
        ({"service_mode": "public", "webhook_config": {"endpoint": "http://me.test", "secret": "s"}, "new": 1}, 0),
        ({"webhook_config": {"endpoint": "me.test/done"}}, 1),
    ],
    ids=str,
)
def test_echo_holds_config_and_an_empty_input(sandbox: Sandbox, config: dict[str, Any], lines: int) -> None:
    body = sandbox.get("sandbox", accept(sandbox, config=config)).body("")
    webhook = {"endpoint": "", "secret": "", **config.get("webhook_config", {})}

    assert (body["config"], body["input"], body["output"]) == (
        {"service_mode": "", **config, "webhook_config": webhook},
        {},
        None,
    )
    assert body["logs"] == [{"message": NO_WEBHOOK}] * lines


def test_cancel_takes_a_pending_task_only(sandbox_with: SandboxWith) -> None:
    sandbox = sandbox_with(speed="real")
    cancelled, processing = accept(sandbox), accept(sandbox)
    sandbox.cancel("sandbox", cancelled)
    assert [sandbox._store.start(task_id, NOW) for task_id in (cancelled, processing)] == [False, True]
    refused = {}
    for task_id in (cancelled, processing):
        with pytest.raises(Refusal) as caught:
            sandbox.cancel("sandbox", task_id)
        refused[task_id] = (caught.value.status, caught.value.message.split(";")[0])

    assert times(sandbox, cancelled)[1:] == [NOT_YET, "2027-01-15T08:00:00.250000Z"]
    assert refused == {
        cancelled: (400, f"task {cancelled} is cancelled"),
        processing: (400, f"task {processing} is processing"),
    }


@pytest.mark.parametrize(
    ("model", "cancelled"), [(None, 2), ("all", 2), ("faceswap", 2), ("Qubico/image-toolkit", 2), ("kling", 0)]
)
def test_cancel_many_takes_older_pending_tasks_of_the_model(
    sandbox_with: SandboxWith, clock: Clock, model: str | None, cancelled: int
) -> None:
    sandbox = sandbox_with(any_key=True)
    tasks = [accept(sandbox), accept(sandbox)]
    other = sandbox.accept("another key", FACE_SWAP).task_id
    clock.now += 10
    late = accept(sandbox)
    count = sandbox.cancel_many("sandbox", clock.now, model)

    assert count == cancelled
    assert [sandbox.get("sandbox", task_id).status for task_id in tasks].count("cancelled") == cancelled
    assert (sandbox.get("sandbox", late).status, sandbox.get("another key", other).status) == ("pending", "pending")


def test_restart_keeps_tasks_and_finishes_those_that_had_not_ended(
    sandbox_with: SandboxWith, clock: Clock, tmp_path: Path
) -> None:
    first = sandbox_with(data=tmp_path, speed="real")
    processing, pending = accept(first), accept(first)
    first._store.start(processing, NOW)
    first.close()
    clock.now += 1000
    second = sandbox_with(data=tmp_path, keys={"sandbox": 77.0})
    second.advance()

    assert [second.get("sandbox", task_id).status for task_id in (processing, pending)] == ["completed", "processing"]
    clock.now += 1000
    assert second.advance() is False
    assert second.get("sandbox", pending).status == "completed"
    assert second.balance("sandbox") == pytest.approx(9.98)


def test_autorun_takes_another_step_for_what_came_during_one() -> None:
    steps: list[str] = []
    done = threading.Event()

    def step() -> float | None:
        steps.append(threading.current_thread().name)
        if len(steps) == 1:
            autorun.wake()
        else:
            done.set()
        return None

    autorun = Autorun(step)
    autorun.wake()

    assert done.wait(timeout=30)
    assert steps == ["unitask-sandbox"] * 2
    autorun.close()


PASSING: tuple[Exception, ...] = (
    sqlite3.OperationalError("database is locked"),
    OSError(errno.ENOSPC, "No space left on device"),
)
BROKEN = (sqlite3.DatabaseError("database disk image is malformed"), MemoryError())


def fail_at_first(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, error: Exception, times: int = 3) -> None:
    """Let a method raise some times before it works."""
    works, left = getattr(place, name), [error] * times

    def method(*args: Any, **kwargs: Any) -> Any:
        if left:
            raise left.pop()
        return works(*args, **kwargs)

    monkeypatch.setattr(place, name, method)


def all_completed(sandbox: Sandbox, count: int) -> threading.Event:
    """Set when so many tasks have ended."""
    ended, told, left = threading.Event(), sandbox._scheduler.on_end, [None] * count

    def on_end(task: Any) -> None:
        told(task)
        left.pop()
        if not left:
            ended.set()

    sandbox._scheduler.on_end = on_end
    return ended


@pytest.mark.parametrize(
    ("method", "error"),
    [
        *((name, PASSING[0]) for name in ("due", "start", "task", "end", "unstage", "next_time")),
        *(("forget_expired_files", error) for error in (*PASSING, *BROKEN)),
    ],
)
def test_passing_trouble_of_the_database_stops_no_task(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE", 0.001)
    sandbox = sandbox_with(autorun=True)
    ended = all_completed(sandbox, 2)
    fail_at_first(monkeypatch, sandbox._store, method, error)
    tasks = [accept(sandbox), sandbox.accept("sandbox", SIMULATED).task_id]

    assert ended.wait(20)
    assert [sandbox._store._rows("SELECT status FROM tasks WHERE task_id = ?", one) for one in tasks] == [
        [("completed",)]
    ] * 2


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_full_disk_is_no_failure_of_a_task(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE", 0.001)
    by_hand, by_itself = sandbox_with(), sandbox_with(autorun=True)
    ended = all_completed(by_itself, 2)
    for sandbox in (by_hand, by_itself):
        fail_at_first(monkeypatch, sandbox._files, "_write", error)
    for sandbox in (by_hand, by_itself):
        accept(sandbox)
        sandbox.accept("sandbox", SIMULATED)
    for _ in range(2):
        with pytest.raises(type(error)):
            by_hand.advance()
    by_hand.advance()

    assert ended.wait(20)
    for sandbox in (by_hand, by_itself):
        assert sandbox._store._rows("SELECT DISTINCT status FROM tasks") == [("completed",)]
        assert sandbox.balance("sandbox") < 10


def test_clock_that_is_set_back_delays_no_task(sandbox_with: SandboxWith, clock: Clock) -> None:
    sandbox = sandbox_with(speed="real")
    task = sandbox.accept("sandbox", FACE_SWAP)
    seen = []
    for waits in ((task.due_at or 0) - task.created_at, task.seconds):
        clock.now -= 3600
        other = accept(sandbox)
        sandbox.advance()
        assert sandbox.get("sandbox", other).status == "pending"
        clock.now += waits + 0.01
        sandbox.advance()
        seen.append(sandbox.get("sandbox", task.task_id).status)

    assert seen == ["processing", "completed"]


def test_clock_that_was_set_back_before_a_restart_delays_no_task(
    sandbox_with: SandboxWith, clock: Clock, tmp_path: Path
) -> None:
    first = sandbox_with(data=tmp_path, speed="real")
    processing, pending = (first.accept("sandbox", FACE_SWAP) for _ in range(2))
    first._store.start(processing.task_id, clock.now)
    first.close()
    clock.now -= 86400
    second = sandbox_with(data=tmp_path, speed="real")
    assert pending.due_at is not None
    clock.now += max(processing.seconds, pending.due_at - pending.created_at) + 0.01
    second.advance()

    assert second.get("sandbox", processing.task_id).status == "completed"
    assert second.get("sandbox", pending.task_id).status == "processing"


def test_close_removes_the_temporary_folder(sandbox_with: SandboxWith, tmp_path: Path) -> None:
    temporary, kept = sandbox_with(), sandbox_with(data=tmp_path)
    for sandbox in (temporary, kept):
        accept(sandbox)
        sandbox.advance()
        sandbox.close()

    assert not temporary._folder.exists()
    assert len(list((tmp_path / "files").iterdir())) == 1


@pytest.mark.parametrize("version", [0, 99])
def test_database_of_another_version_is_refused(sandbox_with: SandboxWith, tmp_path: Path, version: int) -> None:
    sandbox = sandbox_with(data=tmp_path)
    sandbox._store._rows(f"PRAGMA user_version = {version}")
    sandbox.close()

    with pytest.raises(CannotStart, match=rf"sandbox.sqlite3: .* version {version}, .*; use the unitask that wrote it"):
        sandbox_with(data=tmp_path)


WRONG: dict[str, tuple[list[Any], str]] = {
    "speed": (["slow", 0, -1.5, math.nan, True], "speed .*: give a number above 0, instant or real"),
    "workers": ([0, 1.5, math.nan], "workers .*: give an integer from 1"),
    "keys": (
        [{"k": usd} for usd in (math.nan, math.inf, -math.inf, -0.01, 1e12, "1", None, True)],
        "the balance .* of a key: give a number of USD from 0",
    ),
    "concurrency": ([0, -1, 1.5, math.nan], "concurrency .*: give an integer from 1"),
    "rate": ([0, -1, math.nan, math.inf, "1"], "rate .*: give a number above 0"),
    "allowed_hosts": (
        [(name,) for name in ("", "http://box", "box:8042", "box/", "me@box", "a box", "box\n", "[::1]", "[x")],
        "allowed_hosts .*: give a host's name",
    ),
    "plan": (["Gold"], "plan 'Gold': give one of Free, "),
    "private_addresses": (["some"], "private_addresses 'some': give one of none, "),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name][0]], ids=str)
def test_settings_refuse_what_they_do_not_know(settings_with: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=WRONG[name][1]):
        settings_with(**{name: value})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"keys": {"": 1.0}}, "must not be empty"),
        ({"allowed_hosts": "box"}, "allowed_hosts 'box': give a tuple of names"),
    ],
)
def test_settings_say_what_is_meant(settings_with: Any, wrong: dict[str, Any], words: str) -> None:
    assert "a-secret-key" not in repr(settings_with(keys={"a-secret-key": 1.0}))
    with pytest.raises(ValueError, match=words):
        settings_with(**wrong)
