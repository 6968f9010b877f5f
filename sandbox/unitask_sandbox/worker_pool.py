"""Runs tasks that need an engine, several at once, each in a thread with a worker process of its own.

A task is in the pool from `add` until it is done, and is not added twice. A task that raises is done again after those
that wait. A thread exists only while tasks wait, and does not keep the program alive. The queue stores task ids, so a
long queue needs little memory.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from unitask_sandbox.timing import pause_after
from unitask_sandbox.worker import Worker

PATIENCE = 2.0  # seconds that `close` waits for threads; one that reads from a slow address is left behind

_log = logging.getLogger("unitask_sandbox")


class WorkerPool:
    """Does tasks, as many at once as there are workers, in the order in which they were added.

    A task of which `do` raises is done again.
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
        """Have a task done, unless it is in hand."""
        with self._lock:
            if self._closed.is_set() or task_id in self._in_hand:
                return
            self._in_hand.add(task_id)
            self._waiting.append(task_id)
            if self._free:
                worker = self._free.pop()
                thread = threading.Thread(target=self._run, args=(worker,), name="unitask-sandbox-engine", daemon=True)
                self._threads.add(thread)
                try:
                    thread.start()
                except RuntimeError:
                    self._threads.discard(thread)
                    self._free.append(worker)
                    self._waiting.remove(task_id)
                    self._in_hand.discard(task_id)
                    raise

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
