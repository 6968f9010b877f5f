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
    """Calls `step` while there is something to do.

    `step` does something that is due and returns the seconds until more is due, None when nothing is left. The thread
    exists only while something is left, and does not keep the program alive. A step that raises is logged and done
    again after a pause: a full disk, or a database that another process holds, may pass.
    """

    def __init__(self, step: Callable[[], float | None], name: str = "unitask-sandbox") -> None:
        self._step = step
        self._name = name
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
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the machine has no thread left; what was accepted stays accepted
                    _log.error("tasks do not move until the next request: %s", error)
                    return
                self._thread = thread

    def close(self, wait: float | None = None) -> None:
        """Stop after the step that is being done, and wait so many seconds for its end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(wait)

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
