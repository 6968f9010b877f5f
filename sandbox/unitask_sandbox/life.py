"""A task's way from pending to its end, as time goes by.

    pending -> processing -> completed | failed

Rules of this file: whatever goes wrong with one task is that task's failure alone; nothing starts once `closing` is
set, and what was begun then is done after the restart.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from unitask_sandbox import bundle, defects
from unitask_sandbox.engines import ENGINES, EngineResult, run, simulate
from unitask_sandbox.failures import OrderedFailure, TaskFailure
from unitask_sandbox.faults import WORK, Script
from unitask_sandbox.files import OUTPUTS_KEPT, Files
from unitask_sandbox.inputs import read_media
from unitask_sandbox.settings import Settings
from unitask_sandbox.store import Ending, Store
from unitask_sandbox.task import Task
from unitask_sandbox.worker import Worker

_log = logging.getLogger("unitask_sandbox")


class Life:
    """Moves tasks when they are due.

    Args:
        settings: The clock, and where engines run.
        store: Knows which tasks are due.
        files: Keeps what engines make.
        closing: Set when the store is about to be closed; `advancing` is held while it is used.
        on_end: Called with every task that has ended, as it was before.
        faults: Knows which tasks shall fail.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        files: Files,
        closing: threading.Event,
        on_end: Callable[[Task], None],
        faults: Script,
    ) -> None:
        self.advancing = threading.Lock()
        self.worker = Worker()
        self._settings = settings
        self._store = store
        self._files = files
        self._closing = closing
        self._on_end = on_end
        self._faults = faults

    def advance(self) -> float | None:
        """Do everything that is due now, and return when a task moves next; None when all have ended."""
        with self.advancing:
            if self._closing.is_set():
                return None
            now = self._settings.clock()
            for task_id in self._store.due("pending", now):
                self._store.start(task_id, now)
            for task_id in self._store.due("processing", now):
                self._process(task_id)
            self._files.forget_expired()
            return self._store.next_due()

    def next_expiry(self) -> float | None:
        """When the next file expires; None when there is none."""
        with self.advancing:
            return None if self._closing.is_set() else self._store.next_expiry()

    def _process(self, task_id: str) -> None:
        task = self._store.task(task_id)
        if task is None or self._closing.is_set():
            return
        try:
            ending = self._completed(self._make(task))
        except Exception as error:  # whatever it is, it is this task's failure alone
            if self._closing.is_set():
                return  # the worker was stopped; the task is done after the restart
            failure = error if isinstance(error, TaskFailure) else _broken(task, error)
            paid_back = defects.rules(self._settings.defects).pays_back_failed
            ending = Ending(status="failed", at=self._settings.clock(), error=failure.error(), paid_back=paid_back)
        if self._store.end(task_id, ending, before={"processing"}):
            self._on_end(task)

    def _make(self, task: Task) -> EngineResult:
        if fault := self._faults.take(WORK, task.fingerprint, task.task_id):
            raise OrderedFailure(fault.body)
        given = self._store.given(task.task_id)
        task_type = bundle.task_type(task.model, task.task_type, given)
        engine = ENGINES.get((task.model, task.task_type))
        if engine is None:
            return simulate(task_type.output, given)
        given = read_media(given, task_type.media, self._files.fetch)
        return (self.worker.run if self._settings.engine_process else run)(engine, given)

    def _completed(self, result: EngineResult) -> Ending:
        names: list[str] = []
        output = self._files.written(dict(result.output), names)
        now = self._settings.clock()
        return Ending(
            status="completed",
            at=now,
            output=output,
            files=tuple(names),
            meta=dict(result.meta),
            files_expire_at=now + OUTPUTS_KEPT,
        )


def _broken(task: Task, error: Exception) -> TaskFailure:
    _log.error("task %s could not be done", task.task_id, exc_info=error)
    return TaskFailure(f"the sandbox broke: {type(error).__name__}: {error}")
