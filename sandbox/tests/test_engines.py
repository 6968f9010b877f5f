"""Engines: their media, the processes in which they run, several at once, and what a crash leaves."""

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unitask_sandbox import Sandbox, threads
from unitask_sandbox import worker as worker_module
from unitask_sandbox.engines import ENGINES, Engine, EngineResult, registry
from unitask_sandbox.engines.real import face_swap as face_swap_engine
from unitask_sandbox.engines.real import zero_shot
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.http_client import HttpClient
from unitask_sandbox.inputs import LARGEST, read_media
from unitask_sandbox.worker import Worker

from .local import MODEL, TASK_TYPE, SandboxWith, encoded, face_swap, simulated
from .media import recorded

PATIENCE = 30  # seconds until a test that hangs fails
SILENCE = recorded(np.zeros(2400))
BAD_ENGINES = """
import ctypes, os, sys, threading, time
from pathlib import Path
from unitask_sandbox.engines import EngineResult
def crash(given): os._exit(3)
def segfault(given): ctypes.string_at(0)
def hang(given):
    Path(__file__).with_name(f"hanging-{os.getpid()}").touch()
    print("hanging", file=sys.stderr, flush=True)
    time.sleep(600)
def fill(given):
    kept = []
    while True: kept.append(bytearray(b'x' * 2**20))
def hold(given): kept = bytearray(b'x' * 2**26); return EngineResult({"held": len(kept)})
def die(word):
    while not Path(word).exists(): time.sleep(0.001)
    os._exit(0)
def die_later(given): threading.Thread(target=die, args=[given["word"]]).start(); return EngineResult({})
def chat(given): print("not an answer", flush=True); os.system("echo nor this"); return EngineResult({})
"""


@pytest.fixture
def bad_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "bad_engines.py").write_text(BAD_ENGINES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bad_engines", raising=False)
    return importlib.import_module("bad_engines")


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


def failure_of(worker: Worker, function: Engine) -> str:
    with pytest.raises(TaskFailure) as caught:
        worker.run(function, {"target_image": b"", "swap_image": b"", "ref_audio": SILENCE, "gen_text": "one"})
    return caught.value.raw_message


def test_missing_extra_fails_the_task_and_is_named(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hibari.py").write_text("raise ModuleNotFoundError('No module named hibari')")
    monkeypatch.syspath_prepend(tmp_path)  # the worker process imports from there first

    assert failure_of(worker, zero_shot).endswith(
        "needs the extra 'sandbox-tts': pip install 'unitask[sandbox-tts]' (No module named hibari)"
    )


# Inputs.


def fail(_url: str) -> bytes:
    raise OSError("unreachable")


@pytest.mark.parametrize(
    ("text", "fetch", "reason"),
    [
        ("cGlj\r\ndHVy\nZQ==\n", fail, ""),
        ("DATA:image/png;charset=x;BASE64,cGljdHVyZQ==", fail, ""),
        ("HTTP://pictures.test/a.png", lambda _: b"picture", ""),
        ("cGljdHVyZQ", fail, "neither an address nor base64"),
        ("bild ü", fail, "neither an address nor base64"),
        ("data:image/png,abc", fail, "the data URI is not base64"),
        ("data:image/png;base64,", fail, "0 bytes"),
        ("https://pictures.test/a.png", fail, "the address cannot be fetched"),
        ("https://[pictures", HttpClient().get, "the address cannot be fetched"),
        ("https://p.test", lambda _: bytes(LARGEST + 1), f"{LARGEST + 1} bytes, the limit"),
    ],
)
def test_medium_is_read_from_every_form_or_fails_the_task(text: str, fetch: Any, reason: str) -> None:
    given, media = {"picture": text, "prompt": "red"}, {"picture": "image", "mask": "image"}
    if not reason:
        assert read_media(given, media, fetch) == {"picture": b"picture", "prompt": "red"}
        return
    with pytest.raises(TaskFailure) as caught:
        read_media(given, media, fetch)
    assert caught.value.code == 10000
    assert caught.value.raw_message.startswith(f"failed to get valid image (picture): {reason}")


# The worker process.


def test_worker_passes_failures_on_and_keeps_running(worker: Worker, bad_engines: Any) -> None:
    failure, process = failure_of(worker, face_swap_engine), worker._process

    assert failure.startswith("failed to get valid image (target_image)")
    assert worker.run(bad_engines.chat, {}) == EngineResult({})
    assert worker._process is process


NO_PROC = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here: no limit on memory")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hang", "took over 0.05 s, its limit of time"),
        pytest.param("fill", "took over 300 MiB, its limit of memory", marks=NO_PROC),
        ("segfault", "crashed (SIGSEGV)"),
        ("crash", "crashed (exit status 3)"),
    ],
)
def test_engine_that_is_stopped_fails_one_task(
    worker: Worker, bad_engines: Any, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    function = getattr(bad_engines, name)
    monkeypatch.setitem(registry.MOST_SECONDS, bad_engines.hang, 0.05)
    monkeypatch.setattr(worker_module, "MOST_MEBIBYTES", 300)

    assert failure_of(worker, function) == f"the engine bad_engines.{name} {words}"
    assert worker.run(bad_engines.hold, {}) == EngineResult({"held": 2**26})


def test_process_that_ended_after_its_task_harms_no_other(worker: Worker, bad_engines: Any, tmp_path: Path) -> None:
    word = tmp_path / "die"
    worker.run(bad_engines.die_later, {"word": str(word)})
    process: Any = worker._process
    word.touch()
    process.wait()

    assert worker.run(bad_engines.chat, {}) == EngineResult({})


# Several at once.


class Engines:
    """An engine that begins, and ends when the test lets it."""

    def __init__(self, sandbox_with: SandboxWith) -> None:
        self.sandbox_with = sandbox_with
        self.begun: list[str] = []
        self.fetched: list[str] = []
        self.beginning, self.may_end, self.ending = (threading.Semaphore(0) for _ in range(3))

    def __call__(self, given: Any) -> EngineResult:
        self.begun.append(given["target_image"].decode())
        self.beginning.release()
        assert self.may_end.acquire(timeout=PATIENCE)
        return EngineResult({"image_url": (given["target_image"], "png")})

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return url.encode()

    def sandbox(self, workers: int) -> Sandbox:
        """Return a sandbox that releases `ending` whenever a task has ended."""
        made = self.sandbox_with(autorun=True, workers=workers, fetch=self.fetch)
        on_end = made._scheduler.on_end
        made._scheduler.on_end = lambda task: (on_end(task), self.ending.release())[0]
        return made


@pytest.fixture
def engines(fake_engine: None, sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engines]:
    monkeypatch.setattr(threads, "FIRST_PAUSE", 0.001)
    made = Engines(sandbox_with)
    ENGINES[MODEL, TASK_TYPE] = made  # the fixture puts it back
    yield made
    made.may_end.release(9)


def swap(sandbox: Sandbox, name: str) -> str:
    given = {"target_image": f"http://me.test/{name}", "swap_image": "http://me.test/me"}
    return sandbox.accept("sandbox", encoded(face_swap(input=given))).task_id


def test_simulated_tasks_pass_those_that_need_an_engine(engines: Engines) -> None:
    sandbox = engines.sandbox(workers=2)
    swaps = [swap(sandbox, "a"), swap(sandbox, "b")]
    assert all(engines.beginning.acquire(timeout=PATIENCE) for _ in swaps)
    waiting = swap(sandbox, "c")
    quick = sandbox.accept("sandbox", encoded(simulated())).task_id
    assert engines.ending.acquire(timeout=PATIENCE)
    read, seen = [*engines.fetched], [sandbox.get("sandbox", task_id).status for task_id in (quick, waiting)]
    engines.may_end.release(3)
    assert all(engines.ending.acquire(timeout=PATIENCE) for _ in range(3))

    assert seen == ["completed", "processing"]
    assert not [url for url in read if url.endswith("/c")]
    assert [sandbox.get("sandbox", task_id).status for task_id in (*swaps, waiting)] == ["completed"] * 3


def test_each_task_is_done_once_and_in_order(engines: Engines) -> None:
    sandbox = engines.sandbox(workers=1)
    names = [f"{number}" for number in range(8)]
    for name in names:
        swap(sandbox, name)
        sandbox.advance()
    engines.may_end.release(len(names))
    assert all(engines.ending.acquire(timeout=PATIENCE) for _ in names)

    assert engines.begun == [f"http://me.test/{name}" for name in names]


def test_close_while_engines_work_leaves_their_tasks_for_the_restart(
    sandbox_with: SandboxWith, tmp_path: Path, bad_engines: Any
) -> None:
    quick, ENGINES[MODEL, TASK_TYPE] = ENGINES[MODEL, TASK_TYPE], bad_engines.hang
    first = sandbox_with(data=tmp_path / "data", autorun=True, engine_process=True, workers=2)
    tasks = [first.accept("sandbox", encoded(face_swap())).task_id for _ in range(3)]
    while len(list(tmp_path.glob("hanging-*"))) < 2 or first.get("sandbox", tasks[-1]).status != "processing":
        pass
    first.close()
    ENGINES[MODEL, TASK_TYPE] = quick
    second = sandbox_with(data=tmp_path / "data")
    left = [second.get("sandbox", task_id).status for task_id in tasks]
    second.advance()

    assert left == ["processing"] * 3
    assert [second.get("sandbox", task_id).status for task_id in tasks] == ["completed"] * 3


KILLED = f"""
from unitask_sandbox import Sandbox, Settings
from unitask_sandbox.engines import ENGINES
import bad_engines
ENGINES[{MODEL!r}, {TASK_TYPE!r}] = bad_engines.hang
sandbox = Sandbox(Settings(autorun=False))
sandbox.accept("sandbox", {encoded(face_swap())!r})
sandbox.advance()
"""


def test_worker_ends_when_its_sandbox_is_killed(tmp_path: Path, bad_engines: Any) -> None:
    environment = {"PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        begun = process.stderr.readline()
        process.kill()
        rest = process.stderr.read()  # until no process holds the pipe any more

    assert (begun, rest) == ("hanging\n", "")
