"""A thread that moves tasks when they are due."""

import logging
import threading
from collections.abc import Callable

from unitask_sandbox.timing import pause_after

_log = logging.getLogger("unitask_sandbox")


class Autorun:
    """Calls `step` while there is something to do.

    `step` does everything that is due and returns the seconds until more is due, None when nothing is left. The thread
    exists only while something is left, and does not keep the program alive. A step that raises is logged and done
    again after a short pause, or at the next `wake`: a full disk, or a database that another process holds, may pass.
    """

    def __init__(self, step: Callable[[], float | None]) -> None:
        self._step = step
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._failures = 0  # in a row
        self._news = False
        self._closed = False

    def wake(self) -> None:
        """Say that there may be something to do."""
        with self._changed:
            self._news = True
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
        self._news = False
        pause = self._done()
        with self._changed:
            if self._closed or (pause is None and not self._news):
                self._thread = None  # under the lock: a later wake starts another
                return False
            if not self._news and pause is not None:
                self._changed.wait(min(pause, threading.TIMEOUT_MAX))
        return True

    def _done(self) -> float | None:
        try:
            pause = self._step()
        except Exception as error:
            self._failures += 1
            pause = pause_after(self._failures)
            words = "what is due could not be done: %s: %s; it is tried again"
            _log.error(words, type(error).__name__, error, exc_info=self._failures == 1)
        else:
            self._failures = 0
        return pause
