"""Notifications on their way to the calls that wait for them, and which ones were handled already.

Rules of this file: everything that senders can cause to be stored is bounded; any thread and event loop may call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Set
from threading import Lock
from typing import TypeVar

REMEMBERED = 10_000  # handled notifications, and tasks with a notification that no call has received
KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class Once:
    """Notifications that were handled, or are being handled; the oldest are dropped."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._handled: OrderedDict[bytes, bool] = OrderedDict()

    def begin(self, key: bytes) -> bool | None:
        """Return True if it was handled, False if it is being handled; else mark it as being handled, return None."""
        with self._lock:
            handled = self._handled.get(key)
            if handled is None:
                _remember(self._handled, key, False)
            return handled

    def end(self, key: bytes, *, done: bool) -> None:
        """Mark it as handled, or drop it if handling it failed."""
        with self._lock:
            if not done:
                self._handled.pop(key, None)
            elif key in self._handled:
                self._handled[key] = True


class Notifications:
    """Undelivered notifications, and the calls that wait."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._undelivered: OrderedDict[str, None] = OrderedDict()
        # By the function that wakes a call: the tasks that it waits for, and those of which a notification came.
        self._waiting: dict[Callable[[], object], tuple[Set[str], dict[str, None]]] = {}

    def deliver(self, task_id: str) -> None:
        """Wake each call that waits for this task; without one, store the notification for the next."""
        with self._lock:
            calls = [(wake, came) for wake, (task_ids, came) in self._waiting.items() if task_id in task_ids]
            for wake, came in calls:
                came[task_id] = None
                wake()
            if not calls:
                _remember(self._undelivered, task_id, None)

    def subscribe(self, task_ids: Set[str], wake: Callable[[], object]) -> str | None:
        """Return a task with an undelivered notification; if there is none, call `wake` when one comes."""
        with self._lock:
            undelivered = self._undelivered
            if len(undelivered) < len(task_ids):
                found = next((task_id for task_id in undelivered if task_id in task_ids), None)
            else:
                found = next((task_id for task_id in task_ids if task_id in undelivered), None)
            if found is None:
                self._waiting[wake] = (task_ids, {})
            else:
                del undelivered[found]
            return found

    def unsubscribe(self, wake: Callable[[], object]) -> str | None:
        """Stop waiting; return the first task that was notified, and store the notifications of the others."""
        with self._lock:
            _, came = self._waiting.pop(wake)
            first, *others = came or [None]
            for task_id in others:
                if task_id is not None:
                    _remember(self._undelivered, task_id, None)
            return first


def _remember(stored: OrderedDict[KeyT, ValueT], key: KeyT, value: ValueT) -> None:
    stored[key] = value
    stored.move_to_end(key)
    if len(stored) > REMEMBERED:
        stored.popitem(last=False)
