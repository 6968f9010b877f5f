"""Engines: the registry, the media they are given, and the process they run in."""

import importlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unitask_sandbox.audio import encode_audio
from unitask_sandbox.engines import ENGINES, Engine, EngineResult, Limits, name_of, registry
from unitask_sandbox.engines.real import face_swap as face_swap_engine
from unitask_sandbox.engines.real import zero_shot
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.http_client import HttpClient
from unitask_sandbox.inputs import LARGEST, read_media
from unitask_sandbox.worker import Worker

from .local import MODEL, TASK_TYPE, SandboxWith, base64_of, encoded, face_swap
from .portraits import ASTRONAUT, HOPPER

# The registry.


def test_missing_extra_fails_the_task_and_is_named(
    worker_with: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hibari.py").write_text("raise ModuleNotFoundError('No module named hibari')")
    monkeypatch.syspath_prepend(tmp_path)  # the worker process looks there first

    assert failure_of(worker_with(), zero_shot) == (
        f"the engine {name_of(zero_shot)} needs the extra 'sandbox-tts': "
        "pip install 'unitask[sandbox-tts]' (No module named hibari)"
    )


# Inputs.


def read(text: str, fetch: Any = None) -> object:
    return read_media({"picture": text, "prompt": "red"}, {"picture": "image", "mask": "image"}, fetch)


@pytest.mark.parametrize(
    "text",
    [
        "cGlj\r\ndHVy\nZQ==\n",
        "DATA:image/png;charset=x;BASE64,cGljdHVyZQ==",
        "https://pictures.test/a.png",
        "HTTP://pictures.test/a.png",
    ],
)
def test_medium_is_read_from_every_form(text: str) -> None:
    assert read(text, lambda _url: b"picture") == {"picture": b"picture", "prompt": "red"}


def fail(_url: str) -> bytes:
    raise OSError("unreachable")


@pytest.mark.parametrize(
    ("text", "fetch", "reason"),
    [
        pytest.param("cGljdHVyZQ", fail, "neither an address nor base64", id="no-padding"),
        pytest.param("bild ü", fail, "neither an address nor base64", id="not-ascii"),
        pytest.param("data:image/png,abc", fail, "the data URI is not base64", id="plain-data-uri"),
        pytest.param("data:image/png;base64,", fail, "0 bytes", id="empty"),
        pytest.param("https://pictures.test/a.png", fail, "the address cannot be fetched", id="unreachable"),
        pytest.param("https://[pictures", HttpClient().get, "the address cannot be fetched", id="malformed-address"),
        pytest.param("https://p.test", lambda _: bytes(LARGEST + 1), f"{LARGEST + 1} bytes, the limit", id="too-large"),
    ],
)
def test_medium_that_cannot_be_read_fails_the_task(text: str, fetch: Any, reason: str) -> None:
    with pytest.raises(TaskFailure) as caught:
        read(text, fetch)

    assert caught.value.code == 10000
    assert caught.value.raw_message.startswith(f"failed to get valid image (picture): {reason}")


# The worker process.

BAD_ENGINES = """
import ctypes, os, threading, time
from pathlib import Path
from unitask_sandbox.engines import EngineResult
def crash(given): os._exit(3)
def segfault(given): ctypes.string_at(0)
def hang(given):
    Path(__file__).with_name("hanging").touch()
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
    return importlib.import_module("bad_engines")


@pytest.fixture
def worker_with() -> Iterator[Any]:
    workers: list[Worker] = []

    def make() -> Worker:
        workers.append(Worker())
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def silence() -> bytes:
    return encode_audio(np.zeros(2400, np.float32), 24_000, "wav", "")


def failure_of(worker: Worker, function: Engine) -> str:
    with pytest.raises(TaskFailure) as caught:
        worker.run(function, {"target_image": b"", "swap_image": b"", "ref_audio": silence(), "gen_text": "one"})
    return caught.value.raw_message


def test_crash_of_an_engine_fails_one_task(sandbox_with: SandboxWith, bad_engines: Any) -> None:
    sandbox = sandbox_with(engine_process=True)
    given = {"target_image": base64_of(ASTRONAUT), "swap_image": base64_of(HOPPER)}
    tasks = []
    for function in (bad_engines.crash, face_swap_engine):
        ENGINES[MODEL, TASK_TYPE] = function  # the fixture puts it back
        tasks.append(sandbox.accept("sandbox", encoded(face_swap(input=given))).task_id)
        sandbox.advance()
    crashed, swapped = (sandbox.get("sandbox", task_id) for task_id in tasks)

    assert crashed.error["raw_message"] == "the engine bad_engines.crash crashed (exit status 3)"
    assert crashed.error["code"] == 10000
    assert swapped.status == "completed"
    assert sandbox.balance("sandbox") == 9.99


def test_worker_passes_failures_on_and_keeps_running(worker_with: Any, bad_engines: Any) -> None:
    worker: Worker = worker_with()
    failure = failure_of(worker, face_swap_engine)
    process = worker._process

    assert failure.startswith("failed to get valid image (target_image)")
    assert worker.run(bad_engines.chat, {}) == EngineResult({})
    assert worker._process is process


NO_PROC = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here: no limit on memory")


@pytest.mark.parametrize(
    ("name", "limits", "words"),
    [
        ("hang", {"seconds": 0.05}, "took over 0.05 s, its limit of time"),
        pytest.param("fill", {"mebibytes": 300}, "took over 300 MiB, its limit of memory", marks=NO_PROC),
        ("segfault", {}, "crashed (SIGSEGV)"),
    ],
)
def test_engine_that_is_stopped_fails_one_task(
    worker_with: Any, bad_engines: Any, monkeypatch: pytest.MonkeyPatch, name: str, limits: Any, words: str
) -> None:
    worker: Worker = worker_with()
    function = getattr(bad_engines, name)
    monkeypatch.setitem(registry._LIMITS, function, Limits(**limits))

    assert failure_of(worker, function) == f"the engine bad_engines.{name} {words}"
    assert worker.run(bad_engines.hold, {}) == EngineResult({"held": 2**26})


def test_process_that_ended_after_its_task_harms_no_other(worker_with: Any, bad_engines: Any, tmp_path: Path) -> None:
    worker: Worker = worker_with()
    word = tmp_path / "die"
    worker.run(bad_engines.die_later, {"word": str(word)})
    process = worker._process
    assert process is not None
    word.touch()
    process.wait()

    assert worker.run(bad_engines.chat, {}) == EngineResult({})


def test_close_stops_an_engine_that_runs(worker_with: Any, bad_engines: Any, tmp_path: Path) -> None:
    worker: Worker = worker_with()
    failures: list[str] = []
    thread = threading.Thread(target=lambda: failures.append(failure_of(worker, bad_engines.hang)))
    thread.start()
    while not (tmp_path / "hanging").exists():
        pass
    worker.close()
    thread.join()

    assert failures == ["the engine bad_engines.hang crashed (SIGKILL)"]
