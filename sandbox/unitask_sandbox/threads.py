"""Threads that move tasks: one that does what is due, and a pool of workers that run engines.

A thread exists only while there is something to do, and does not keep the program alive. What raises is logged and done
again after a pause: a full disk, or a database that another process holds, may pass.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from unitask_sandbox.worker import Worker

FIRST_PAUSE = 0.1  # seconds until something that failed is tried again; doubled each time
LONGEST_PAUSE = 5.0
PATIENCE = 2.0  # seconds that `WorkerPool.close` waits; a thread that reads from a slow address is left behind

_log = logging.getLogger("unitask_sandbox")


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))


class Autorun:
    """Calls `step` while there is something to do.

    `step` does everything that is due and returns the seconds until more is due, None when nothing is left.
    """

    def __init__(self, step: Callable[[], float | None]) -> None:
        self._step = step
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._failures = 0  # in a row
        self._is_woken = False
        self._closed = False

    def wake(self) -> None:
        """Do a step now."""
        with self._changed:
            self._is_woken = True
            self._changed.notify()
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name="unitask-sandbox", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the machine has no thread left; what was accepted stays accepted
                    _log.error("tasks do not move until the next request: %s", error)
                    return
                self._thread = thread

    def close(self, *, wait: bool = True) -> None:
        """Stop after the step that is being done, and wait for its end or not."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and wait:
            thread.join()

    def _run(self) -> None:
        try:
            while self._go_on():
                pass
        except BaseException:
            self._thread = None
            raise

    def _go_on(self) -> bool:
        """Do one step and wait for the next; False when there will be none."""
        self._is_woken = False
        try:
            pause = self._step()
            self._failures = 0
        except Exception as error:
            self._failures += 1
            pause = pause_after(self._failures)
            words = "what is due could not be done: %s: %s; it is tried again"
            _log.error(words, type(error).__name__, error, exc_info=self._failures == 1)
        with self._changed:
            if self._closed or (pause is None and not self._is_woken):
                self._thread = None  # under the lock: a later wake starts another
                return False
            if not self._is_woken and pause is not None:
                self._changed.wait(min(pause, threading.TIMEOUT_MAX))
        return True


class WorkerPool:
    """Does tasks, as many at once as there are workers, in the order in which they were added.

    A task is in the pool from `add` until it is done, and is not added twice. A task of which `do` raises is done again
    after those that wait. Only task ids are stored, so a long queue needs little memory.
    """

    def __init__(self, workers: Sequence[Worker], do: Callable[[str, Worker], None]) -> None:
        self._workers = workers
        self._do = do
        self._lock = threading.Lock()
        self._free = [*reversed(workers)]  # the last one is taken first: it may have a process already
        self._waiting: deque[str] = deque()
        self._in_hand: set[str] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = threading.Event()

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._in_hand

    def add(self, task_id: str) -> None:
        """Have a task done, unless it is in the pool."""
        with self._lock:
            if self._closed.is_set() or task_id in self._in_hand:
                return
            if self._free:
                thread = threading.Thread(
                    target=self._run, args=(self._free[-1],), name="unitask-sandbox-engine", daemon=True
                )
                thread.start()  # it waits for the lock; when it cannot start, nothing has changed
                self._free.pop()
                self._threads.add(thread)
            self._in_hand.add(task_id)
            self._waiting.append(task_id)

    def close(self) -> None:
        """Stop, whatever is being done."""
        with self._lock:
            self._closed.set()
            self._waiting.clear()
            threads = [*self._threads]
        for worker in self._workers:
            worker.close()
        until = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, worker: Worker) -> None:
        failures = 0  # in a row
        while task_id := self._next(worker):
            try:
                self._do(task_id, worker)
            except Exception as error:
                failures += 1
                words = "task %s could not be ended: %s: %s; it is tried again"
                _log.error(words, task_id, type(error).__name__, error, exc_info=failures == 1)
                self._again(task_id)
                self._closed.wait(pause_after(failures))
            else:
                failures = 0
                self._in_hand.discard(task_id)

    def _again(self, task_id: str) -> None:
        with self._lock:
            if self._closed.is_set():
                self._in_hand.discard(task_id)
            else:
                self._waiting.append(task_id)

    def _next(self, worker: Worker) -> str | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free.append(worker)  # under the same lock: a later task finds it
            self._threads.discard(threading.current_thread())
            return None
