"""Webhooks: POST the end of a task to the endpoint of its create request.

The body is {timestamp, data}, where data is what a poll answers, with the secret of the create request in the header
x-webhook-secret (piapi.ai, unified-webhook page, 2025). Without a 2xx answer it is sent again after 5 seconds, at most
3 times in all (third parties). A cancelled task sends none, because no document says that it does.
"""

import itertools
import json
import logging
import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from unitask_sandbox import legacy
from unitask_sandbox.faults import WEBHOOK, Fault, Script
from unitask_sandbox.http_client import NotFetched
from unitask_sandbox.store import WEBHOOK_PAUSE, Attempt, Store
from unitask_sandbox.task import Task
from unitask_sandbox.threads import pause_after

ATTEMPTS = 3
AT_ONCE = 64  # deliveries under way
AT_ONCE_A_HOST = 8

_log = logging.getLogger("unitask_sandbox")


@dataclass(eq=False)
class Courier:
    """Delivers the webhooks that are due."""

    store: Store
    clock: Callable[[], float]  # unix seconds
    send: Callable[[str, bytes, Mapping[str, str]], int]
    closing: threading.Event  # set when the store is about to be closed; `storing` is held while it is used
    faults: Script

    def __post_init__(self) -> None:
        self.storing = threading.Lock()
        self._in_hand: dict[str, str] = {}  # by task id, the host; one thread adds, each delivery removes its own

    def deliver(self, on_end: Callable[[], object] | None = None) -> float | None:
        """Send what is due now, and return when more will be due; None when nothing is left.

        With `on_end`, each delivery has a thread of its own, and it is called when one is over: more may be begun then.
        """
        before, now = [*self._in_hand], self.clock()  # before `_due`, which may still return what ends in between
        for task, base_url, attempts in self._due(now):
            host = _without_query(task.config["webhook_config"]["endpoint"]).split("/")[2].lower()
            busy = Counter([*self._in_hand.values()])
            if task.task_id in before or busy.total() >= AT_ONCE or busy[host] >= AT_ONCE_A_HOST:
                continue
            order = task, base_url, attempts, self.faults.take(WEBHOOK, task.fingerprint, task.task_id)
            if on_end is None:
                self._deliver_one(*order)
                continue
            self._in_hand[task.task_id] = host
            name = "unitask-sandbox-webhook"
            try:
                threading.Thread(target=self._deliver_alone, args=(order, on_end), name=name, daemon=True).start()
            except RuntimeError:  # the machine has no thread left; the webhook is sent at a later call
                self._in_hand.pop(task.task_id)
                raise
        with self.storing:
            after = now if on_end else -math.inf  # what becomes due from here on is not forgotten
            return None if self.closing.is_set() else self.store.next_time("webhooks", after)

    def _due(self, now: float) -> list[tuple[Task, str, int]]:
        with self.storing:
            if self.closing.is_set():
                return []
            self.store.heed_clock(now)
            return self.store.due_webhooks(now)

    def _deliver_alone(self, order: tuple[Task, str, int, Fault | None], on_end: Callable[[], object]) -> None:
        task_id = order[0].task_id
        try:
            self._deliver_one(*order)
        except Exception:
            _log.exception("the attempt to send the webhook of task %s could not be stored", task_id)
        finally:
            self._in_hand.pop(task_id)
            on_end()

    def _deliver_one(self, task: Task, base_url: str, attempts: int, fault: Fault | None) -> None:
        """Make one attempt, and store it; storing is repeated, or the webhook would be sent again."""
        late = fault.delay if fault else 0.0
        is_lost = fault is not None and fault.kind == "lose"
        attempt = None if late or is_lost else self._attempt(task, base_url, fault)
        attempts += 0 if late else 1
        is_last = attempt is None or attempt.delivered or attempts >= ATTEMPTS
        until = self.clock() + (late or WEBHOOK_PAUSE) if late or not is_last else None
        for failures in itertools.count(1):
            try:
                with self.storing:
                    if not self.closing.is_set():
                        self.store.keep_attempt(task.task_id, attempt, until, attempts)
                return
            except sqlite3.OperationalError as error:
                _log.warning("the attempt to send the webhook of task %s is not stored: %s", task.task_id, error)
                self.closing.wait(pause_after(failures))

    def _attempt(self, task: Task, base_url: str, fault: Fault | None) -> Attempt:
        webhook = task.config["webhook_config"]
        headers = {"content-type": "application/json", "user-agent": "unitask-sandbox"}
        if webhook["secret"]:
            headers["x-webhook-secret"] = webhook["secret"]
        notification = {"timestamp": int(task.ended_at or 0), "data": task.body(base_url)}
        if legacy.protocol_of(task):
            notification = legacy.answer(task, base_url, Path)  # such a task has no result in base64
        if fault and fault.kind == "repeat":
            self._posted(task, notification, headers)
        if fault:
            notification, headers = fault.edited(notification), {**headers, **fault.headers}
        return self._posted(task, notification, headers)

    def _posted(self, task: Task, notification: object, headers: Mapping[str, str]) -> Attempt:
        endpoint: str = task.config["webhook_config"]["endpoint"]
        shown = _without_query(endpoint)
        try:
            status = self.send(endpoint, json.dumps(notification).encode(), headers)
        except Exception as error:  # whatever it is, it is this webhook's failure alone
            why = f"the request was not sent: {error}" if isinstance(error, NotFetched) else type(error).__name__
            _log.warning("the webhook of task %s was not delivered: %s", task.task_id, why)
            return Attempt(self.clock(), shown, None, type(error).__name__)  # its text could hold the address
        attempt = Attempt(self.clock(), shown, status)
        if not attempt.delivered:
            _log.warning("the webhook of task %s was answered with HTTP %d", task.task_id, status)
        return attempt


def _without_query(url: str) -> str:
    """Return an address as it may be stored: without what may hold a secret."""
    head, slashes, rest = url.partition("?")[0].partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{slashes}{host.rpartition('@')[2]}{slash}{path}"
