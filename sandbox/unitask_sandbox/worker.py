"""The worker process: engines run here, so that one that crashes or hangs fails one task and nothing else.

It is a plain subprocess and not a `ProcessPoolExecutor`, for two reasons. A pool imports the caller's main module
again: a script that starts a sandbox without a `__main__` guard would start it again in the worker. And a pool cannot
stop one task that hangs. The two sides speak pickle over pipes that nobody else can write to.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from unitask_sandbox.engines import Engine, EngineResult, name_of, run
from unitask_sandbox.failures import TaskFailure

TIME_LIMIT = 120.0  # seconds for one task


class Worker:
    """Runs engines in a process that is started when it is first needed, and again when it broke.

    Args:
        limit: Seconds that one task may take.
    """

    def __init__(self, limit: float = TIME_LIMIT) -> None:
        self._limit = limit
        self._process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()
        self._closed = False

    def run(self, engine: Engine, given: Mapping[str, Any]) -> EngineResult:
        """Run an engine, and wait for what it makes.

        Raises:
            TaskFailure: The engine failed, crashed or took too long.
        """
        order = pickle.dumps((engine, given))
        with self._one_at_a_time:
            process = self._process = self._process or _start()
            if self._closed:  # after the process is known: whichever comes later, this or `close`, ends it
                self._dispose()
                raise TaskFailure(f"the engine {name_of(engine)} was stopped")
            late = _Deadline(self._limit, process)
            try:
                answer = _ask(process, order)
            except (OSError, EOFError, pickle.UnpicklingError):
                self._dispose()
                cause = f"took over {self._limit:g} s" if late.passed else "crashed"
                raise TaskFailure(f"the engine {name_of(engine)} {cause}") from None
            finally:
                late.cancel()
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


class _Deadline(threading.Timer):
    """Kills a process after so many seconds, unless it is cancelled first."""

    def __init__(self, seconds: float, process: subprocess.Popen[bytes]) -> None:
        super().__init__(seconds, self._pass)
        self.passed = False
        self._process = process
        self.daemon = True
        self.start()

    def _pass(self) -> None:
        self.passed = True
        self._process.kill()


def _start() -> subprocess.Popen[bytes]:
    # It finds modules where this process does; -P adds no other place.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "unitask_sandbox.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )


def _ask(process: subprocess.Popen[bytes], order: bytes) -> EngineResult | TaskFailure:
    assert process.stdin
    assert process.stdout
    process.stdin.write(order)
    process.stdin.flush()
    answer: EngineResult | TaskFailure = pickle.load(process.stdout)  # noqa: S301 - our own process
    return answer


def work(orders: BinaryIO, answers: BinaryIO) -> None:
    """Do every order until the other side is gone; this is what the worker process runs."""
    with suppress(ImportError):  # the engine that needs it says so
        from unitask_sandbox.faces import warm_up

        warm_up(threads=1)
    inbox = queue.SimpleQueue[tuple[Engine, Mapping[str, Any]]]()
    threading.Thread(target=_receive, args=(orders, inbox), daemon=True).start()
    while True:
        pickle.dump(_outcome(*inbox.get()), answers)
        answers.flush()


def _receive(orders: BinaryIO, inbox: queue.SimpleQueue[tuple[Engine, Mapping[str, Any]]]) -> None:
    try:
        while True:
            inbox.put(pickle.load(orders))  # noqa: S301 - from the process that started this one
    except (EOFError, pickle.UnpicklingError):
        pass
    except Exception:
        traceback.print_exc()
    os._exit(1)  # it is gone, perhaps killed: whatever is being done here, nobody waits for it


def _outcome(engine: Engine, given: Mapping[str, Any]) -> EngineResult | TaskFailure:
    try:
        return run(engine, given)
    except TaskFailure as failure:
        return failure


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes the pipe
    if sys.platform != "win32":
        os.nice(5)  # on a core that both share, requests are answered first
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an engine's library prints must not end up among the answers
    work(sys.stdin.buffer, private)
