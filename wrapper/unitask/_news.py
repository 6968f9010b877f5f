"""Of which tasks there is news, who waits for it, and which notifications were told.

Rules of this file: nothing that strangers send is kept without a limit; any thread and any event loop may call.
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

from ._core.messages import Wanted

REMEMBERED = 10_000  # notifications that were told, and tasks with news for which nobody waits
_NOTHING: Any = object()


class Told(StrEnum):
    NEVER = "never"
    JUST_NOW = "just now"
    BEFORE = "before"


class Once:
    """Which notifications were told, or are being told; the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told: OrderedDict[bytes, Told] = OrderedDict()

    def begin(self, key: bytes) -> Told:
        """Whether it was told; if it never was, it is from now on."""
        with self._lock:
            told = self._told.get(key, Told.NEVER)
            if told is Told.NEVER:
                _remember(self._told, key, Told.JUST_NOW)
            return told

    def end(self, key: bytes, *, done: bool) -> None:
        """It was told, or could not be and is forgotten."""
        with self._lock:
            if not done:
                self._told.pop(key, None)
            elif key in self._told:
                self._told[key] = Told.BEFORE


class _Listener:
    """Hears news of the tasks in a set that changes, from one call of `until_news` to the next."""

    def __init__(self) -> None:
        self.ears: dict[str, Callable[[], object]] = {}  # by the task: what is called when there is news of it
        self.heard: OrderedDict[str, None] = OrderedDict()
        self.wake: Callable[[], object] | None = None  # while somebody waits

    def hear(self, task_id: str) -> None:
        """There is news of this task."""
        self.ears.pop(task_id, None)
        self.heard[task_id] = None
        if self.wake:
            self.wake()


class News:
    """Of which tasks there is news that nobody has heard, and who waits for news of which."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._unheard: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: dict[bytes, list[Callable[[], object]]] = {}
        self._listeners: weakref.WeakKeyDictionary[Wanted, _Listener] = weakref.WeakKeyDictionary()
        self._left: deque[_Listener] = deque()  # whose set is gone

    def tell(self, task_id: str) -> None:
        """Wake all who wait for news of this task; keep it for the next one if nobody does."""
        key = digest(task_id)
        with self._lock:
            self._forget_the_left()
            waiting = self._waiting.pop(key, [])
            if not waiting:
                _remember(self._unheard, key, None)
            for wake in waiting:
                wake()

    def listen(self, task_ids: Collection[str], wake: Callable[[], object]) -> str | None:
        """Of which of these tasks there is news already; if of none, `wake` is called when some comes."""
        with self._lock:
            self._forget_the_left()
            if isinstance(task_ids, Wanted):
                return self._follow(task_ids, wake)
            for task_id in task_ids:
                if self._unheard.pop(digest(task_id), _NOTHING) is None:
                    return task_id
            for task_id in task_ids:
                self._waiting.setdefault(digest(task_id), []).append(wake)
            return None

    def leave(self, task_ids: Collection[str], wake: Callable[[], object]) -> str | None:
        """Listen no longer; of which task news has come. News of further ones is kept."""
        with self._lock:
            if isinstance(task_ids, Wanted):
                listener = self._listeners[task_ids]
                listener.wake = None
                return _next(listener.heard)
            came = [task_id for task_id in task_ids if not self._remove(digest(task_id), wake)]
            for task_id in came[1:]:
                _remember(self._unheard, digest(task_id), None)
        return came[0] if came else None

    def _follow(self, wanted: Wanted, wake: Callable[[], object]) -> str | None:
        """`listen` for a set that is asked about again and again: only what has changed in it is read."""
        listener = self._listeners.get(wanted)
        if listener is None:
            listener = self._listeners[wanted] = _Listener()
            weakref.finalize(wanted, self._left.append, listener).atexit = False
        for task_id in wanted.changes():
            key = digest(task_id)
            if task_id not in wanted:
                self._unfollow(listener, task_id, key)
            elif task_id not in listener.ears:
                if self._unheard.pop(key, _NOTHING) is None:
                    listener.heard[task_id] = None
                ear = listener.ears[task_id] = partial(listener.hear, task_id)
                self._waiting.setdefault(key, []).append(ear)
        heard = _next(listener.heard)
        listener.wake = wake if heard is None else None
        return heard

    def _unfollow(self, listener: _Listener, task_id: str, key: bytes) -> None:
        """Listen no longer for one task; news of it that was not told is kept."""
        if ear := listener.ears.pop(task_id, None):
            self._remove(key, ear)
        if listener.heard.pop(task_id, _NOTHING) is None:
            _remember(self._unheard, key, None)

    def _forget_the_left(self) -> None:
        while self._left:
            listener = self._left.popleft()
            for task_id in {**listener.ears, **listener.heard}:
                self._unfollow(listener, task_id, digest(task_id))

    def _remove(self, key: bytes, wake: Callable[[], object]) -> bool:
        """Whether it still waited, and no longer does."""
        waiting = self._waiting.get(key, [])
        if wake not in waiting:
            return False
        waiting.remove(wake)
        if not waiting:
            del self._waiting[key]
        return True


def _next(heard: OrderedDict[str, None]) -> str | None:
    return heard.popitem(last=False)[0] if heard else None


def _remember(kept: OrderedDict[bytes, Any], key: bytes, value: object) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)


def digest(*words: str) -> bytes:
    """A key of one length for text of any."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()
