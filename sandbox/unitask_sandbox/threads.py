"""Threads that do what is due."""

import logging
import threading
from collections.abc import Callable

FIRST_PAUSE = 0.1  # seconds until something that failed is tried again; doubled each time
LONGEST_PAUSE = 5.0

_log = logging.getLogger("unitask_sandbox")


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))


class Autorun:
    """Calls `step` in a thread of its own, from the first `wake` until `close`.

    `step` does something that is due and returns the seconds until more is due, None to wait for a `wake`. A step that
    raises is logged and done again after a pause: a full disk, or a database that another process holds, may pass.
    """

    def __init__(self, step: Callable[[], float | None], name: str = "unitask-sandbox") -> None:
        self._step = step
        self._name = name
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._closed = False

    def wake(self) -> None:
        """Do a step now."""
        self._woken.set()
        with self._starting:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the machine has no thread left; what was accepted stays accepted
                    _log.error("tasks do not move until the next request: %s", error)
                    return
                self._thread = thread

    def close(self, wait: float | None = None) -> None:
        """Stop after the step that is being done, and wait so many seconds for its end."""
        with self._starting:
            self._closed = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(wait)

    def _run(self) -> None:
        failures = 0  # in a row
        while True:
            self._woken.clear()
            if self._closed:
                return
            try:
                pause = self._step()
                failures = 0
            except Exception as error:
                failures += 1
                pause = pause_after(failures)
                words = "what is due could not be done: %s: %s; it is tried again"
                _log.error(words, type(error).__name__, error, exc_info=failures == 1)
            self._woken.wait(pause if pause is None else min(pause, threading.TIMEOUT_MAX))
