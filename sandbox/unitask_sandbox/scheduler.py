"""Move tasks from pending to their end when they are due.

    pending -> processing -> completed | failed

With autorun, a task with an engine waits in a queue of task ids, and stays processing until a worker is free. Without
autorun everything is done in `advance`. After an error of the database or the disk, a task is done at the next try.
Nothing starts once `closing` is set; a task that was begun is done after the restart.
"""

import errno
import json
import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from unitask_sandbox import bundle, pricing
from unitask_sandbox.engines import ENGINES, Engine, EngineResult, run, simulate, simulate_unknown
from unitask_sandbox.failures import NO_ORIGIN, OUTDATED, TASK_NOT_FOUND, TaskFailure
from unitask_sandbox.faults import WORK, Script
from unitask_sandbox.files import Files
from unitask_sandbox.inputs import read_media
from unitask_sandbox.settings import Settings
from unitask_sandbox.store import Ending, Store
from unitask_sandbox.task import Task
from unitask_sandbox.threads import Autorun
from unitask_sandbox.worker import Worker

# Errors of a machine that has too little of something, and not of a task
MAY_PASS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})

DERIVED_WITHIN = 3 * 3600.0  # seconds; doc.qubico.ai/output-storage, 2025-08-31: upscale, variation
CLOSE_SECONDS = 2.0  # that `close` waits for engines; a thread that reads from a slow address is left behind

_log = logging.getLogger("unitask_sandbox")


@dataclass(eq=False)
class Scheduler:
    """Moves tasks when they are due; `on_end` is called with every task that has ended, as it was before."""

    settings: Settings
    store: Store
    files: Files
    closing: threading.Event  # set when the store is about to be closed; `storing` is held while it is used
    on_end: Callable[[Task], None]
    faults: Script

    def __post_init__(self) -> None:
        self.storing = threading.Lock()
        self.workers = [Worker() for _ in range(self.settings.workers)]
        self._direct = Worker()  # for requests that wait for the result
        self._engines = [Autorun(partial(self._work, worker), "unitask-sandbox-engine") for worker in self.workers]
        self._waiting: deque[str] = deque()
        self._in_hand: set[str] = set()  # those that wait, and those that are done now
        self._advancing = threading.Lock()

    def advance(self) -> float | None:
        """Do everything that is due now, or queue it for the workers, and return when a task moves next.

        None when all have ended, or are in the queue of the workers.
        """
        with self._advancing:
            now = self.settings.clock()
            failure: Exception | None = None
            for task_id in self._due(now):
                try:
                    self._hand_out(task_id)
                except Exception as error:  # the next one may be luckier
                    failure = error
            next_due = self._next_due(now)
            if failure:
                raise failure
            return next_due

    def _next_due(self, now: float) -> float | None:
        """Remove what has expired, and return when a task moves next."""
        with self.storing:
            if self.closing.is_set():
                return None
            self.files.forget_expired()
            return self.store.next_time("tasks", now if self.settings.autorun else -math.inf)

    def next_expiry(self) -> float | None:
        """Return when the next file expires; None when there is none."""
        with self.storing:
            return None if self.closing.is_set() else self.store.next_time("files")

    def _due(self, now: float) -> list[str]:
        """Start the pending tasks that are due; return the processing ones that are due and not in the queue."""
        with self.storing:
            if self.closing.is_set():
                return []
            self.store.heed_clock(now)
            for task_id in self.store.due("pending", now):
                self.store.start(task_id, now)
            return [task_id for task_id in self.store.due("processing", now) if task_id not in self._in_hand]

    def _hand_out(self, task_id: str) -> None:
        task = self._begun(task_id)
        if task and self.settings.autorun and (task.model, task.task_type) in ENGINES:
            self._in_hand.add(task_id)
            self._waiting.append(task_id)
            for engine in self._engines[: len(self._in_hand)]:  # the first ones may have a process already
                engine.wake()
        elif task:
            self._process(task_id, self.workers[0])

    def _work(self, worker: Worker) -> float | None:
        """Do the task that waits longest, and return 0; None when none waits."""
        try:
            task_id = self._waiting.popleft()
        except IndexError:
            return None
        try:
            self._process(task_id, worker)
        except Exception:
            self._waiting.append(task_id)
            raise
        self._in_hand.discard(task_id)
        return 0.0

    def run_now(self, engine: Engine, given: Mapping[str, Any]) -> EngineResult:
        """Run an engine without a task, and wait for its result."""
        return (self._direct.run if self.settings.engine_process else run)(engine, given)

    def close(self) -> None:
        """Stop the engines, whatever they are doing; `closing` is set."""
        self._waiting.clear()
        for worker in (*self.workers, self._direct):
            worker.close()
        until = time.monotonic() + CLOSE_SECONDS
        for engine in self._engines:
            engine.close(max(0.0, until - time.monotonic()))

    def _begun(self, task_id: str) -> Task | None:
        """Return a task that is being processed; None when it has ended, or is to be left for the restart."""
        with self.storing:
            task = None if self.closing.is_set() else self.store.task(task_id)
        return task if task and task.status == "processing" else None

    def _process(self, task_id: str, worker: Worker) -> None:
        if not (task := self._begun(task_id)):
            return
        try:
            result, credits_ = self._make(task, worker)
            with self.storing:
                if self.closing.is_set():
                    return
                names: list[str] = []
                output, at = self.files.written(task_id, dict(result.output), names), self.settings.clock()
            meta, files = dict(result.meta), tuple(names)
            ending = Ending(status="completed", at=at, output=output, files=files, meta=meta, credits=credits_)
        except Exception as error:  # whatever it is, it is this task's failure alone
            if self.closing.is_set():
                return  # the worker was stopped
            if isinstance(error, sqlite3.OperationalError) or getattr(error, "errno", None) in MAY_PASS:
                raise
            if not isinstance(error, TaskFailure):
                _log.error("task %s could not be done", task.task_id, exc_info=error)
                error = TaskFailure(f"the sandbox broke: {type(error).__name__}: {error}")
            ending = Ending(status="failed", at=self.settings.clock(), error=error.error())
        with self.storing:
            ended = not self.closing.is_set() and self.store.end(task_id, ending, before={"processing"})
        if ended:
            self.on_end(task)

    def _make(self, task: Task, worker: Worker) -> tuple[EngineResult, int]:
        """Return the result, and its price where that was not known before the files of the input were read."""
        if fault := self.faults.take(WORK, task.fingerprint, task.task_id):
            raise TaskFailure("", ordered=json.loads(fault.body or b"{}"))
        given = self.files.with_assets(self.store.given(task.task_id), task.account)
        task_type = bundle.find(task.model, task.task_type, given)
        if task_type is None:
            return simulate_unknown(task.model, task.task_type, given), 0
        self._check_origin(task, task_type.family, str(given.get("origin_task_id") or ""))
        engine = ENGINES.get((task.model, task.task_type))
        if engine is None:
            return simulate(task_type, given, self.files.own), 0
        read = read_media(given, task_type.media, self.files.fetch)
        result = (worker.run if self.settings.engine_process else run)(engine, read)
        if task.consume or task.frozen:
            return result, 0
        content = {given[name]: read[name] for name in task_type.media if name in given}
        return result, pricing.credits_of_work(task_type.price, given, task_type.media, content.__getitem__)

    def _check_origin(self, task: Task, family: str, origin_id: str) -> None:
        """Fail a task that starts from another one, unless that is a completed one of its account and family."""
        if not origin_id:
            return
        origin = self.store.task(origin_id)
        is_own = origin is not None and origin.account == task.account
        if origin is None or not is_own or bundle.family_of(origin.model, origin.task_type) != family:
            reason = TASK_NOT_FOUND
        elif origin.status != "completed":
            reason = f"parent task is {origin.status}"
        elif family == "midjourney" and self.settings.clock() - (origin.ended_at or 0.0) > DERIVED_WITHIN:
            reason = OUTDATED
        else:
            return
        raise TaskFailure(NO_ORIGIN.format(reason=reason))
