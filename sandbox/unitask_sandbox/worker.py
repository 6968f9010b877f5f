"""The worker process: engines run here, so that one that crashes, hangs or fills the memory fails one task only.

It is no `ProcessPoolExecutor`, which imports the caller's main module again, and cannot stop one task that hangs. A
process above its limit of time or memory is killed. Without /proc (macOS, Windows) memory has no limit.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from unitask_sandbox.engines import Engine, EngineResult, name_of, run
from unitask_sandbox.engines.registry import MOST_SECONDS, USUAL_SECONDS
from unitask_sandbox.faces.swap import warm_up
from unitask_sandbox.failures import TaskFailure

MOST_MEBIBYTES = 2048  # by which the process may grow in one task
POLL_SECONDS = 0.05  # between two checks of the limits

Answer = EngineResult | TaskFailure


class Worker:
    """Runs engines in a process that is started when it is first needed, and again when it broke."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()
        self._closed = False

    def run(self, engine: Engine, given: Mapping[str, Any]) -> EngineResult:
        """Run an engine, and wait for its result."""
        order = pickle.dumps((engine, given))
        with self._one_at_a_time:
            if self._process is not None and self._process.poll() is not None:  # it ended while it had nothing to do
                self._dispose()
            process = self._process = self._process or _start()
            if self._closed:  # after the process is known: whichever comes later, this or `close`, ends it
                self._dispose()
                raise TaskFailure(f"the engine {name_of(engine)} was stopped")
            answer = _answer(process, order, engine)
        if isinstance(answer, str):
            raise TaskFailure(f"the engine {name_of(engine)} {answer}")
        if isinstance(answer, TaskFailure):
            raise answer
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing; nothing runs here any more."""
        self._closed = True
        if process := self._process:
            process.kill()  # before the lock: the run that holds it waits for this process
        with self._one_at_a_time:
            self._dispose()

    def _dispose(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(OSError):  # what was not yet sent
                process.communicate()


def _answer(process: subprocess.Popen[bytes], order: bytes, engine: Engine) -> Answer | str:
    """Return the answer to an order; in words why there is none, after which the process has ended."""
    most_seconds = MOST_SECONDS.get(engine, USUAL_SECONDS)
    end, memory = time.monotonic() + most_seconds, _mebibytes_of(process)
    answers = queue.SimpleQueue[Answer | None]()
    threading.Thread(target=_exchange, args=(process, order, answers), name="unitask-sandbox-pipe", daemon=True).start()
    while True:
        with suppress(queue.Empty):
            return answers.get(timeout=max(0.0, min(POLL_SECONDS, end - time.monotonic()))) or _end_of(process)
        if time.monotonic() >= end:
            exceeded = f"took over {most_seconds:g} s, its limit of time"
        elif _mebibytes_of(process) - memory > MOST_MEBIBYTES:
            exceeded = f"took over {MOST_MEBIBYTES} MiB, its limit of memory"
        else:
            continue
        process.kill()
        process.wait()
        return answers.get() or exceeded


def _exchange(process: subprocess.Popen[bytes], order: bytes, answers: queue.SimpleQueue[Answer | None]) -> None:
    assert process.stdin
    assert process.stdout
    answer: Answer | None = None
    with suppress(Exception):  # the process has ended, or is being killed
        process.stdin.write(order)
        process.stdin.flush()
        answer = pickle.load(process.stdout)  # noqa: S301 - our own process
    answers.put(answer)


def _mebibytes_of(process: subprocess.Popen[bytes]) -> float:
    try:
        resident = int(Path(f"/proc/{process.pid}/statm").read_bytes().split()[1])  # in pages; see proc(5)
        return resident * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):  # IndexError: it is being removed
        return 0.0


def _end_of(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    name = signal.Signals(-code).name if -code in set(signal.Signals) else ""
    return f"crashed ({name or f'exit status {code}'})"


def _start() -> subprocess.Popen[bytes]:
    # It finds modules where this process does; -P adds no other place.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "unitask_sandbox.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )


def work(orders: BinaryIO, answers: BinaryIO) -> None:
    """Do every order until the other side is gone; this is what the worker process runs."""
    warm_up(threads=1)
    inbox = queue.SimpleQueue[tuple[Engine, Mapping[str, Any]]]()
    threading.Thread(target=_receive, args=(orders, inbox), daemon=True).start()
    while True:
        engine, given = inbox.get()
        try:
            answer: Answer = run(engine, given)
        except TaskFailure as failure:
            answer = failure
        pickle.dump(answer, answers)
        answers.flush()


def _receive(orders: BinaryIO, inbox: queue.SimpleQueue[tuple[Engine, Mapping[str, Any]]]) -> None:
    with suppress(Exception):
        while True:
            inbox.put(pickle.load(orders))  # noqa: S301 - from the process that started this one
    os._exit(1)  # the parent is gone: nothing waits for this work


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes the pipe
    if sys.platform != "win32":
        os.nice(5)  # on a core that both share, requests are answered first
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an engine's library prints must not end up among the answers
    work(sys.stdin.buffer, private)
