"""From accepted to ended: times, restarts, the clock, and trouble of the database or the disk; and the settings."""

import errno
import math
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from unitask_sandbox import Sandbox, threads
from unitask_sandbox.engines import ENGINES
from unitask_sandbox.task import Task
from unitask_sandbox.threads import Autorun

from .local import (
    CREATE,
    KEY,
    MODEL,
    TASK_TYPE,
    Clock,
    HttpWith,
    SandboxWith,
    encoded,
    face_swap,
    fail_at_first,
    fake_swap,
    simulated,
)

FACE_SWAP = encoded(face_swap())


def accept(sandbox: Sandbox, body: bytes = FACE_SWAP) -> Task:
    return sandbox.accept("sandbox", body)


def statuses(sandbox: Sandbox, *tasks: Task) -> list[str]:
    return [sandbox.get("sandbox", task.task_id).status for task in tasks]


def test_task_takes_its_drawn_time_and_speed_divides_it(
    sandbox_with: SandboxWith, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: "one-id")
    sandbox = sandbox_with(speed="real")
    task, fast = accept(sandbox), accept(sandbox_with(speed=4))
    due, fast_due = task.due_at or 0, fast.due_at or 0
    assert (fast.seconds, fast_due - clock.now) == pytest.approx((task.seconds / 4, (due - clock.now) / 4))
    seen = []
    for clock.now in (due - 0.001, due, due + task.seconds - 0.001, due + task.seconds):
        left = sandbox.advance()
        seen.append((*statuses(sandbox, task), left))

    assert seen == [("pending", True), ("processing", True), ("processing", True), ("completed", False)]


def test_bug_fails_its_task_alone(
    http_with: HttpWith, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fetch(_url: str) -> bytes:
        raise RuntimeError("a bug in fetch")

    def broken(given: Any) -> Any:
        return fake_swap(given) if given["target_image"] != b"bad" else {}["target"]

    http = http_with(fetch=fetch)
    monkeypatch.setitem(ENGINES, (MODEL, TASK_TYPE), broken)
    addresses = {"target_image": "http://x.test/a.png", "swap_image": "http://x.test/b.png"}
    tasks = [http.create(target=b"bad"), http.create(input=addresses), http.create()]
    http.sandbox.advance()

    assert http.statuses(*tasks) == ["failed", "failed", "completed"]
    assert http.task(tasks[0])["error"]["raw_message"].endswith("broken raised KeyError: 'target'")
    assert http.task(tasks[1])["error"]["raw_message"] == "the sandbox broke: RuntimeError: a bug in fetch"
    assert "a bug in fetch" in caplog.text


def test_cancel_takes_pending_tasks_of_the_model_and_key_only(http_with: HttpWith, clock: Clock) -> None:
    http = http_with(speed="real", keys={"sandbox": 10.0, "another key": 10.0})
    other = http.sandbox.accept("another key", FACE_SWAP).task_id
    tasks = sorted((accept(http.sandbox) for _ in range(3)), key=lambda task: task.due_at or 0)
    _, cancelled, _ = (task.task_id for task in tasks)
    clock.now = tasks[0].due_at or 0
    http.sandbox.advance()
    http.sandbox.cancel("sandbox", cancelled)
    accept(http.sandbox)  # too late for those that were created before this moment
    many = [http.sandbox.cancel_many("sandbox", clock.now, model) for model in ("kling", "faceswap")]

    assert many == [0, 1]
    assert not http.sandbox._store.start(cancelled, clock.now)  # it was due, and cancelled meanwhile
    assert http.sandbox.cancel_many("sandbox", clock.now + 1, MODEL) == 1
    assert http.sandbox.get("another key", other).status != "cancelled"


# Restarts and the clock.


@pytest.mark.parametrize("moved", [1000, -86400], ids=["later", "clock-set-back"])
def test_restart_finishes_the_tasks_that_had_not_ended(
    sandbox_with: SandboxWith, clock: Clock, tmp_path: Path, moved: float
) -> None:
    first = sandbox_with(data=tmp_path, speed="real")
    processing, pending = sorted((accept(first) for _ in range(2)), key=lambda task: task.due_at or 0)
    clock.now = processing.due_at or 0
    first.advance()
    first.close()
    clock.now += moved
    second = sandbox_with(data=tmp_path, speed="real", keys={"sandbox": 77.0})
    clock.now += max(processing.seconds, (pending.due_at or 0) - pending.created_at) + 0.01
    second.advance()

    assert statuses(second, processing, pending) == ["completed", "processing"]
    clock.now += 1000
    assert second.advance() is False
    assert statuses(second, pending) == ["completed"]
    assert second.balance("sandbox") == pytest.approx(9.98)


ORIGINS: dict[str, tuple[dict[str, Any], float, str]] = {
    "it never was": ({"origin_task_id": "00000000-0000-4000-8000-000000000000"}, 0, "task not found"),
    "it is of another account": ({"origin_task_id": "of another"}, 0, "task not found"),
    "it is of another family": ({"origin_task_id": "film"}, 0, "task not found"),
    "it was cancelled": ({"origin_task_id": "cancelled"}, 0, "parent task is cancelled"),
    "its time is over": ({"origin_task_id": "picture"}, 3 * 3600 + 1, "parent task is outdated"),
    "it is a completed one": ({"origin_task_id": "picture"}, 3 * 3600, ""),
}


@pytest.mark.parametrize(("given", "age", "reason"), ORIGINS.values(), ids=ORIGINS.keys())
def test_task_that_starts_from_another_one_needs_it(
    http_with: HttpWith, clock: Clock, given: dict[str, Any], age: float, reason: str
) -> None:
    http = http_with(keys={"sandbox": 10.0, "another": 10.0})
    imagine = simulated("midjourney", "imagine")
    ids = {"cancelled": http.create(imagine)}
    http("DELETE", f"{CREATE}/{ids['cancelled']}")
    ids |= {"picture": http.create(imagine), "film": http.create(simulated("kling", "video_generation"))}
    http.headers = {"x-api-key": "another"}
    ids["of another"] = http.create(imagine)
    http.headers = KEY
    http.sandbox.advance()
    clock.now += age
    origin = ids.get(given["origin_task_id"], given["origin_task_id"])
    task = http.done("midjourney", "upscale", origin_task_id=origin, index="1")
    expected = ("failed", 10000, f"derive from origin task: {reason}") if reason else ("completed", 0, "")

    assert (task["status"], task["error"]["code"], task["error"]["raw_message"]) == expected
    assert task["meta"]["usage"]["consume"] == 0 or not reason


def test_clock_that_is_set_back_delays_no_task(sandbox_with: SandboxWith, clock: Clock) -> None:
    sandbox = sandbox_with(speed="real")
    task = accept(sandbox)
    seen = []
    for waits in ((task.due_at or 0) - task.created_at, task.seconds):
        clock.now -= 3600
        other = accept(sandbox)
        sandbox.advance()
        assert statuses(sandbox, other) == ["pending"]
        clock.now += waits + 0.01
        sandbox.advance()
        seen += statuses(sandbox, task)

    assert seen == ["processing", "completed"]


def test_wake_during_a_step_takes_another_step() -> None:
    steps: list[None] = []
    done = threading.Event()

    def step() -> None:
        steps.append(None)
        autorun.wake() if len(steps) == 1 else done.set()

    autorun = Autorun(step)
    autorun.wake()

    assert done.wait(timeout=30)
    autorun.close()
    assert len(steps) == 2


def test_thread_that_cannot_be_started_is_started_at_a_later_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    fail_at_first(monkeypatch, threading.Thread, "start", RuntimeError("can't start new thread"))
    autorun = Autorun(done.set)  # type: ignore[arg-type]  # it returns None, as an idle step
    for _ in range(4):
        autorun.wake()

    assert done.wait(timeout=30)
    autorun.close()


# Trouble of the database and the disk.

LOCKED, FULL = sqlite3.OperationalError("database is locked"), OSError(errno.ENOSPC, "No space left on device")
BROKEN = sqlite3.DatabaseError("database disk image is malformed")


@pytest.mark.parametrize(
    ("part", "method", "error"),
    [
        *(("_store", name, LOCKED) for name in ("due", "start", "task", "end", "next_time", "given")),
        *(("_store", "forget_expired_files", error) for error in (FULL, BROKEN, MemoryError())),
        *(("_files", "_write", error) for error in (LOCKED, FULL)),
    ],
)
def test_passing_trouble_fails_no_task(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch, part: str, method: str, error: Exception
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE", 0.001)
    sandbox = sandbox_with(autorun=True)
    ended = threading.Semaphore(0)
    on_end = sandbox._scheduler.on_end
    monkeypatch.setattr(sandbox._scheduler, "on_end", lambda task: (on_end(task), ended.release()))
    fail_at_first(monkeypatch, getattr(sandbox, part), method, error)
    tasks = [accept(sandbox), accept(sandbox, encoded(simulated()))]

    assert all(ended.acquire(timeout=20) for _ in tasks)
    ids = [task.task_id for task in tasks]
    assert [sandbox._store._rows("SELECT status FROM tasks WHERE task_id = ?", one)[0][0] for one in ids] == [
        "completed"
    ] * 2


# Settings.

WRONG: dict[str, tuple[list[Any], str]] = {
    "speed": (["slow", 0, -1.5, math.nan, True], "speed .*: give a number above 0, instant or real"),
    "workers": ([0, 1.5], "workers .*: give an integer from 1"),
    "keys": ([{"k": usd} for usd in (math.nan, -0.01, 1e12, "1", True)], "the balance .* of a key: give a number of"),
    "concurrency": ([0, 1.5], "concurrency .*: give an integer from 1"),
    "rate": ([0, math.inf, "1"], "rate .*: give a number of requests a second above 0"),
    "private_addresses": (["some"], "private_addresses 'some': give one of none, "),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_refuse_what_cannot_be(settings_with: Any, name: str) -> None:
    values, words = WRONG[name]
    for value in values:
        with pytest.raises(ValueError, match=words):
            settings_with(**{name: value})


def test_settings_show_no_key_and_take_no_empty_one(settings_with: Any) -> None:
    assert "a-secret-key" not in repr(settings_with(keys={"a-secret-key": 1.0}))
    with pytest.raises(ValueError, match="must not be empty"):
        settings_with(keys={"": 1.0})
