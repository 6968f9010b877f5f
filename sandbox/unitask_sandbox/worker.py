"""The worker process: engines run here, so that one that crashes, hangs or fills the memory fails one task only.

It is a plain subprocess and not a `ProcessPoolExecutor`, for two reasons. A pool imports the caller's main module
again: a script that starts a sandbox without a `__main__` guard would start it again in the worker. And a pool cannot
stop one task that hangs. The two sides speak pickle over private pipes.

The registry says how long a task may take, and how much memory. Memory is the resident size of the process, read from
/proc twenty times a second, and a process above the limit is killed. RLIMIT_AS would count addresses, of which each
thread of a library reserves gigabytes that it never touches, and OpenCV, FFmpeg and Python each fail in another way
there. Without /proc (macOS, Windows) there is no limit on memory.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from unitask_sandbox.engines import Engine, EngineResult, Limits, limits_of, name_of, run
from unitask_sandbox.failures import TaskFailure

LOOK_EVERY = 0.05  # seconds between two looks at a process's memory


class Worker:
    """Runs engines in a process that is started when it is first needed, and again when it broke."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()
        self._closed = False

    def run(self, engine: Engine, given: Mapping[str, Any]) -> EngineResult:
        """Run an engine, and wait for what it makes."""
        order = pickle.dumps((engine, given))
        with self._one_at_a_time:
            process = self._ready()
            if self._closed:  # after the process is known: whichever comes later, this or `close`, ends it
                self._dispose()
                raise TaskFailure(f"the engine {name_of(engine)} was stopped")
            guard = _Guard(process, limits_of(engine))
            try:
                answer = _ask(process, order)
            except (OSError, EOFError, pickle.UnpicklingError):
                answer = None
            finally:
                exceeded = guard.dismiss()
            if answer is None:
                self._dispose()
                raise TaskFailure(f"the engine {name_of(engine)} {exceeded or _end_of(process)}")
            if exceeded:  # killed as the answer arrived: that answer counts, the process is gone
                self._dispose()
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

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:  # it ended while it had nothing to do
            self._dispose()
        self._process = self._process or _start()
        return self._process

    def _dispose(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(OSError):  # what was not yet sent
                process.communicate()


class _Guard(threading.Thread):
    """Kills a process that exceeds what a task may take, until it is dismissed."""

    def __init__(self, process: subprocess.Popen[bytes], allowed: Limits) -> None:
        super().__init__(name="unitask-sandbox-guard", daemon=True)
        self._process = process
        self._allowed = allowed
        self._deadline = time.monotonic() + allowed.seconds
        self._memory_before = _mebibytes_of(process)
        self._dismissed = threading.Event()
        self._exceeded = ""
        self.start()

    def dismiss(self) -> str:
        """Stop, and say what was exceeded and by what it is limited; empty when nothing was."""
        self._dismissed.set()
        self.join()
        return self._exceeded

    def run(self) -> None:
        """Watch until a limit is exceeded or the guard is dismissed."""
        while not self._dismissed.wait(min(LOOK_EVERY, max(0.0, self._deadline - time.monotonic()))):
            self._exceeded = self._excess()
            if self._exceeded:
                self._process.kill()
                return

    def _excess(self) -> str:
        if time.monotonic() >= self._deadline:
            return f"took over {self._allowed.seconds:g} s, its limit of time"
        if _mebibytes_of(self._process) - self._memory_before > self._allowed.mebibytes:
            return f"took over {self._allowed.mebibytes:g} MiB, its limit of memory"
        return ""


def _mebibytes_of(process: subprocess.Popen[bytes]) -> float:
    try:
        resident = int(Path(f"/proc/{process.pid}/statm").read_bytes().split()[1])  # in pages; see proc(5)
        return resident * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):  # IndexError: it is being removed
        return 0.0


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """How a process ended that gave no answer."""
    with suppress(subprocess.TimeoutExpired):
        code = process.wait(1)  # it has closed its pipe, or never read it
        name = signal.Signals(-code).name if -code in set(signal.Signals) else ""
        return f"crashed ({name or f'exit status {code}'})"
    return "crashed"


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
        from unitask_sandbox.faces.swap import warm_up

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
    os._exit(1)  # the parent is gone: nothing waits for this work


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
