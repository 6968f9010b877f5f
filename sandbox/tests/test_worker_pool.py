"""Several tasks at once: what waits for an engine, what does not, and what is left when the sandbox ends meanwhile."""

import importlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unitask_sandbox import Sandbox, threads
from unitask_sandbox.engines import ENGINES, EngineResult
from unitask_sandbox.task import Task

from .local import MODEL, TASK_TYPE, SandboxWith, encoded, face_swap

SIMULATED = encoded({"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a lighthouse"}})
PATIENCE = 30  # seconds until a test that hangs fails

HANGING = """
import os, sys, time
from pathlib import Path

def hang(given):
    Path(__file__).with_name(f"begun-{os.getpid()}").touch()
    print("begun", file=sys.stderr, flush=True)
    time.sleep(60)
"""


class Engines:
    """An engine that begins, and ends when it is let."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.fetched: list[str] = []
        self.beginning, self.may_end, self.ending = (threading.Semaphore(0) for _ in range(3))

    def __call__(self, given: Any) -> EngineResult:
        self.begun.append(given["target_image"].decode())
        self.beginning.release()
        assert self.may_end.acquire(timeout=PATIENCE)
        return EngineResult({"image_url": (given["target_image"], "png")})

    def fetch(self, url: str) -> bytes:
        """Stands for the network."""
        self.fetched.append(url)
        return url.encode()

    def watch(self, sandbox: Sandbox) -> None:
        """Release `ending` whenever a task has ended."""
        ended = sandbox._scheduler.on_end

        def on_end(task: Task) -> None:
            ended(task)
            self.ending.release()

        sandbox._scheduler.on_end = on_end


@pytest.fixture
def engines(fake_engine: None) -> Iterator[Engines]:
    made = Engines()
    ENGINES[MODEL, TASK_TYPE] = made  # the fixture puts it back
    yield made
    for _ in range(9):
        made.may_end.release()


def swap(sandbox: Sandbox, name: str) -> str:
    given = {"target_image": f"http://me.test/{name}", "swap_image": "http://me.test/me"}
    return sandbox.accept("sandbox", encoded(face_swap(input=given))).task_id


def test_simulated_tasks_pass_those_that_need_an_engine(sandbox_with: SandboxWith, engines: Engines) -> None:
    sandbox = sandbox_with(autorun=True, workers=2, fetch=engines.fetch)
    engines.watch(sandbox)
    swaps = [swap(sandbox, "a"), swap(sandbox, "b")]
    assert all(engines.beginning.acquire(timeout=PATIENCE) for _ in swaps)
    waiting = swap(sandbox, "c")
    simulated = sandbox.accept("sandbox", SIMULATED).task_id
    assert engines.ending.acquire(timeout=PATIENCE)
    read, seen = [*engines.fetched], [sandbox.get("sandbox", task_id).status for task_id in (simulated, waiting)]
    for _ in range(3):
        engines.may_end.release()
    assert all(engines.ending.acquire(timeout=PATIENCE) for _ in range(3))

    assert seen == ["completed", "processing"]
    assert not [url for url in read if url.endswith("/c")]
    assert [sandbox.get("sandbox", task_id).status for task_id in (*swaps, waiting)] == ["completed"] * 3


def test_each_task_is_done_once_and_in_order(sandbox_with: SandboxWith, engines: Engines) -> None:
    sandbox = sandbox_with(autorun=True, workers=1, fetch=engines.fetch)
    engines.watch(sandbox)
    names = [f"{number}" for number in range(8)]
    for name in names:
        swap(sandbox, name)
        sandbox.advance()
        engines.may_end.release()
    assert all(engines.ending.acquire(timeout=PATIENCE) for _ in names)

    assert engines.begun == [f"http://me.test/{name}" for name in names]


@pytest.mark.parametrize("method", ["task", "given", "end"])
def test_task_that_could_not_be_ended_is_done_again(
    sandbox_with: SandboxWith, engines: Engines, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE", 0.001)
    sandbox = sandbox_with(autorun=True, workers=1, fetch=engines.fetch)
    engines.watch(sandbox)
    works, failing = getattr(sandbox._store, method), threading.Semaphore(3)

    def locked(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread().name == "unitask-sandbox-engine" and failing.acquire(blocking=False):
            raise sqlite3.OperationalError("database is locked")
        return works(*args, **kwargs)

    monkeypatch.setattr(sandbox._store, method, locked)
    for _ in range(4):
        engines.may_end.release()
    task_id = swap(sandbox, "a")

    assert engines.ending.acquire(timeout=PATIENCE)
    assert sandbox._store._rows("SELECT status FROM tasks WHERE task_id = ?", task_id) == [("completed",)]
    assert not failing.acquire(blocking=False)


def test_thread_that_cannot_be_started_loses_no_task(
    sandbox_with: SandboxWith, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE", 0.001)
    start, failing = threading.Thread.start, ["unitask-sandbox", "unitask-sandbox-engine"]

    def no_thread(thread: threading.Thread) -> None:
        if thread.name in failing:
            failing.remove(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    sandbox = sandbox_with(autorun=True, workers=1, fetch=engines.fetch)
    engines.watch(sandbox)
    for _ in range(2):
        engines.may_end.release()
    tasks = [swap(sandbox, "a"), swap(sandbox, "b")]

    assert all(engines.ending.acquire(timeout=PATIENCE) for _ in tasks)
    assert failing == []


def test_close_while_engines_work_leaves_their_tasks_for_the_restart(
    sandbox_with: SandboxWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    monkeypatch.syspath_prepend(tmp_path)
    quick, ENGINES[MODEL, TASK_TYPE] = ENGINES[MODEL, TASK_TYPE], importlib.import_module("hanging").hang
    first = sandbox_with(data=tmp_path / "data", autorun=True, engine_process=True, workers=2)
    tasks = [first.accept("sandbox", encoded(face_swap())).task_id for _ in range(3)]
    while len(list(tmp_path.glob("begun-*"))) < 2 or first.get("sandbox", tasks[-1]).status != "processing":
        pass
    first.close()
    ENGINES[MODEL, TASK_TYPE] = quick
    second = sandbox_with(data=tmp_path / "data")
    left = [second.get("sandbox", task_id).status for task_id in tasks]
    second.advance()

    assert left == ["processing"] * 3
    assert [second.get("sandbox", task_id).status for task_id in tasks] == ["completed"] * 3


KILLED = f"""
import sys
from unitask_sandbox import Sandbox, Settings
from unitask_sandbox.engines import ENGINES
import hanging
ENGINES[{MODEL!r}, {TASK_TYPE!r}] = hanging.hang
sandbox = Sandbox(Settings(autorun=False))
sandbox.accept("sandbox", {encoded(face_swap())!r})
sandbox.advance()
"""


def test_worker_ends_when_its_sandbox_is_killed(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    command = [sys.executable, "-c", KILLED]
    environment = {"PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        begun = process.stderr.readline()
        process.kill()
        rest = process.stderr.read()  # until nobody holds the pipe any more

    assert (begun, rest) == ("begun\n", "")
