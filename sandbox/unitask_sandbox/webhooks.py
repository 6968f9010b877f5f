"""Webhooks: the endpoint that a create named is told how its task ended.

It gets a POST of {timestamp, data}, data being what a look at the task answers, with the secret of the create in the
header x-webhook-secret (piapi.ai, unified-webhook page, 2025). An answer that is no 2xx, or none, and it is sent again
after 5 seconds, at most 3 times in all, say third parties. A cancelled task is not told of: no document says it were.

Rules of this file: nothing is held while a receiver is waited for, so that a slow one holds up no task; the secret is
kept until the last attempt and no longer (store.py forgets it).
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from unitask_sandbox import defects, legacy
from unitask_sandbox.faults import WEBHOOK, Fault, Script
from unitask_sandbox.outgoing import NotFetched
from unitask_sandbox.store import Attempt, Store
from unitask_sandbox.task import Task

PAUSE = 5.0  # seconds between two attempts

_log = logging.getLogger("unitask_sandbox")


class Courier:
    """Delivers the webhooks that are due.

    Args:
        store: Lists them.
        clock: Returns the time: unix seconds.
        send: Posts one, and returns the HTTP status of the answer.
        closing: Set when the store is about to be closed; `storing` is held while it is used.
        faults: Knows what goes wrong with which.
        planted: The defects.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        send: Callable[[str, bytes, Mapping[str, str]], int],
        closing: threading.Event,
        faults: Script,
        planted: frozenset[str],
    ) -> None:
        self.storing = threading.Lock()
        self._store = store
        self._clock = clock
        self._send = send
        self._closing = closing
        self._faults = faults
        self._defects = planted
        self._rules = defects.rules(planted)

    def deliver(self) -> float | None:
        """Send everything that is due now, and return when more will be; None when nothing is left."""
        with self.storing:
            due = [] if self._closing.is_set() else self._store.due_webhooks(self._clock())
        for task, base_url, attempts in due:
            fault = self._faults.take(WEBHOOK, task.fingerprint, task.task_id)
            late = fault.delay if fault else 0.0
            attempt = None if late or self._is_dropped(fault) else self._attempt(task, base_url, fault)
            with self.storing:
                if self._closing.is_set():
                    return None
                if attempt:
                    self._store.note_attempt(task.task_id, attempt)
                if not late and self._is_done(attempt, attempts + 1):
                    self._store.forget_webhook(task.task_id)
                else:
                    until = self._clock() + (late or PAUSE)
                    self._store.delay_webhook(task.task_id, until, attempts if late else attempts + 1)
        with self.storing:
            return None if self._closing.is_set() else self._store.next_webhook()

    def _is_done(self, attempt: Attempt | None, attempts: int) -> bool:
        taken = attempt is None or (attempt.delivered and self._rules.webhooks_are_taken)
        return taken or attempts >= self._rules.webhook_attempts

    def _is_dropped(self, fault: Fault | None) -> bool:
        return not self._rules.webhook_attempts or (fault is not None and fault.kind == "lose")

    def _attempt(self, task: Task, base_url: str, fault: Fault | None) -> Attempt:
        webhook = task.config["webhook_config"]
        headers = {"content-type": "application/json", "user-agent": "unitask-sandbox"}
        if webhook["secret"]:
            headers["x-webhook-secret"] = webhook["secret"]
        notification = {"timestamp": int(task.ended_at or 0), "data": task.body(base_url)}
        if legacy.protocol_of(task):
            notification = legacy.answer(task, base_url, Path)  # such a task has no result in base64
        notification = defects.notification(self._defects, notification, headers)
        if fault and fault.kind == "repeat":
            self._posted(task, notification, headers)
        if fault:
            notification, headers = fault.edited(notification), {**headers, **fault.headers}
        return self._posted(task, notification, headers)

    def _posted(self, task: Task, notification: object, headers: Mapping[str, str]) -> Attempt:
        """What came of it."""
        endpoint: str = task.config["webhook_config"]["endpoint"]
        told = _without_query(endpoint)
        try:
            status = self._send(endpoint, json.dumps(notification).encode(), headers)
        except Exception as error:  # whatever it is, it is this webhook's failure alone
            why = f"its address was not asked: {error}" if isinstance(error, NotFetched) else type(error).__name__
            _log.warning("the webhook of task %s was not delivered: %s", task.task_id, why)
            cause = getattr(error, "reason", None)  # of a URLError; its text could hold the address
            return Attempt(self._clock(), told, None, type(cause if isinstance(cause, Exception) else error).__name__)
        attempt = Attempt(self._clock(), told, status)
        if not attempt.delivered:
            _log.warning("the webhook of task %s was answered with HTTP %d", task.task_id, status)
        return attempt


def _without_query(url: str) -> str:
    """An address as it may be kept: what may hold a secret left out."""
    head, slashes, rest = url.partition("?")[0].partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{slashes}{host.rpartition('@')[2]}{slash}{path}"
