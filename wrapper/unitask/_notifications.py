"""Notifications on their way to the calls that wait for them, and which ones were handled already.

Rules of this file: everything that strangers can send is kept with a limit; any thread and any event loop may call.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from enum import StrEnum
from functools import partial
from threading import Lock
from typing import Any

from ._core.effects import WakeSet

REMEMBERED = 10_000  # handled notifications, and tasks with a notification that nothing waits for yet
_NOTHING: Any = object()


class Delivered(StrEnum):
    """Whether a notification was handled before."""

    NEVER = "never"
    JUST_NOW = "just now"
    BEFORE = "before"


class Once:
    """Notifications that were handled, or are being handled; the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._delivered: OrderedDict[bytes, Delivered] = OrderedDict()

    def begin(self, key: bytes) -> Delivered:
        """Return whether it was handled before; if never, mark it as being handled."""
        with self._lock:
            delivered = self._delivered.get(key, Delivered.NEVER)
            if delivered is Delivered.NEVER:
                _remember(self._delivered, key, Delivered.JUST_NOW)
            return delivered

    def end(self, key: bytes, *, done: bool) -> None:
        """Mark it as handled, or forget it if handling it failed."""
        with self._lock:
            if not done:
                self._delivered.pop(key, None)
            elif key in self._delivered:
                self._delivered[key] = Delivered.BEFORE


class _Subscriber:
    """Collects the notifications of a `WakeSet` from one wait to the next."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Callable[[], object]] = {}  # by task id
        self.received: OrderedDict[str, None] = OrderedDict()
        self.wake: Callable[[], object] | None = None  # during a wait

    def receive(self, task_id: str) -> None:
        """Take a notification of this task."""
        self.callbacks.pop(task_id, None)
        self.received[task_id] = None
        if self.wake:
            self.wake()


class Notifications:
    """Undelivered notifications and waiters, by task id."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._undelivered: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: dict[bytes, list[Callable[[], object]]] = {}
        self._subscribers: weakref.WeakKeyDictionary[WakeSet, _Subscriber] = weakref.WeakKeyDictionary()
        self._orphans: deque[_Subscriber] = deque()  # whose set is gone

    def deliver(self, task_id: str) -> None:
        """Wake every waiter of this task; without one, keep the notification for the next."""
        key = digest(task_id)
        with self._lock:
            self._drop_orphans()
            waiting = self._waiting.pop(key, [])
            if not waiting:
                _remember(self._undelivered, key, None)
            for wake in waiting:
                wake()

    def subscribe(self, task_ids: Collection[str], wake: Callable[[], object]) -> str | None:
        """Return a task with an undelivered notification; if there is none, call `wake` when one comes."""
        with self._lock:
            self._drop_orphans()
            if isinstance(task_ids, WakeSet):
                return self._follow(task_ids, wake)
            for task_id in task_ids:
                if self._undelivered.pop(digest(task_id), _NOTHING) is None:
                    return task_id
            for task_id in task_ids:
                self._waiting.setdefault(digest(task_id), []).append(wake)
            return None

    def unsubscribe(self, task_ids: Collection[str], wake: Callable[[], object]) -> str | None:
        """Stop waiting; return the task that was notified, and keep the notifications of further ones."""
        with self._lock:
            if isinstance(task_ids, WakeSet):
                subscriber = self._subscribers[task_ids]
                subscriber.wake = None
                return _next(subscriber.received)
            came = [task_id for task_id in task_ids if not self._remove(digest(task_id), wake)]
            for task_id in came[1:]:
                _remember(self._undelivered, digest(task_id), None)
        return came[0] if came else None

    def _follow(self, wanted: WakeSet, wake: Callable[[], object]) -> str | None:
        """Subscribe a set that is waited for again and again: only its changes are read."""
        subscriber = self._subscribers.get(wanted)
        if subscriber is None:
            subscriber = self._subscribers[wanted] = _Subscriber()
            weakref.finalize(wanted, self._orphans.append, subscriber).atexit = False
        for task_id in wanted.changes():
            key = digest(task_id)
            if task_id not in wanted:
                self._unfollow(subscriber, task_id, key)
            elif task_id not in subscriber.callbacks:
                if self._undelivered.pop(key, _NOTHING) is None:
                    subscriber.received[task_id] = None
                callback = subscriber.callbacks[task_id] = partial(subscriber.receive, task_id)
                self._waiting.setdefault(key, []).append(callback)
        received = _next(subscriber.received)
        subscriber.wake = wake if received is None else None
        return received

    def _unfollow(self, subscriber: _Subscriber, task_id: str, key: bytes) -> None:
        """Stop waiting for one task; keep a notification of it that was not delivered."""
        if callback := subscriber.callbacks.pop(task_id, None):
            self._remove(key, callback)
        if subscriber.received.pop(task_id, _NOTHING) is None:
            _remember(self._undelivered, key, None)

    def _drop_orphans(self) -> None:
        while self._orphans:
            subscriber = self._orphans.popleft()
            for task_id in {**subscriber.callbacks, **subscriber.received}:
                self._unfollow(subscriber, task_id, digest(task_id))

    def _remove(self, key: bytes, wake: Callable[[], object]) -> bool:
        """Remove a waiter; return whether it was still waiting."""
        waiting = self._waiting.get(key, [])
        if wake not in waiting:
            return False
        waiting.remove(wake)
        if not waiting:
            del self._waiting[key]
        return True


def _next(received: OrderedDict[str, None]) -> str | None:
    return received.popitem(last=False)[0] if received else None


def _remember(kept: OrderedDict[bytes, Any], key: bytes, value: object) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)


def digest(*words: str) -> bytes:
    """Hash texts of any length to a key of one length."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()
