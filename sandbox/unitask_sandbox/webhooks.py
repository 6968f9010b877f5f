"""Webhooks: POST the end of a task to the endpoint that its create named.

The body is {timestamp, data}, where data is what a poll answers, with the secret of the create in the header
x-webhook-secret (piapi.ai, unified-webhook page, 2025). Without a 2xx answer it is sent again after 5 seconds, at most
3 times in all (third parties). A cancelled task sends none, because no document says that it does.

No lock is held while a receiver answers, so a slow receiver delays no task. With `start` each delivery has a thread of
its own, at most `AT_ONCE_A_HOST` for one host. The secret is kept until the last attempt.
"""

import json
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

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
        self._lock = threading.Lock()
        self._in_hand: dict[str, str] = {}  # by task id, the host that is told

    def deliver(self) -> float | None:
        """Send what is due now, one after the other, and return when more will be; None when nothing is left."""
        for task, base_url, attempts in self._due():
            self._tell(task, base_url, attempts, self.faults.take(WEBHOOK, task.fingerprint, task.task_id))
        with self.storing:
            return None if self.closing.is_set() else self.store.next_webhook()

    def start(self, on_end: Callable[[], object]) -> float | None:
        """Begin to send what is due now, each in a thread of its own, and return when more will be.

        `on_end` is called when a delivery is over: more may be begun then.
        """
        with self._lock:  # before the look: what ends in between is done, though the look may still show it as due
            before = frozenset(self._in_hand)
        for task, base_url, attempts in self._due():
            host = _host(task.config["webhook_config"]["endpoint"])
            with self._lock:
                told = Counter(self._in_hand.values())
                if task.task_id in before or told.total() >= AT_ONCE or told[host] >= AT_ONCE_A_HOST:
                    continue
                self._in_hand[task.task_id] = host
            try:
                fault = self.faults.take(WEBHOOK, task.fingerprint, task.task_id)
                order = (task, base_url, attempts, fault)
                threading.Thread(
                    target=self._tell_alone, args=(order, on_end), name="unitask-sandbox-webhook", daemon=True
                ).start()
            except BaseException:
                self._put_down(task.task_id)
                raise
        with self.storing:
            return None if self.closing.is_set() else self.store.next_webhook(self.clock())

    def _due(self) -> list[tuple[Task, str, int]]:
        with self.storing:
            if self.closing.is_set():
                return []
            now = self.clock()
            self.store.heed_clock(now)
            return self.store.due_webhooks(now)

    def _tell_alone(self, order: tuple[Task, str, int, Fault | None], on_end: Callable[[], object]) -> None:
        try:
            self._tell(*order)
        except Exception:
            _log.exception("what came of the webhook of task %s could not be kept", order[0].task_id)
        finally:
            self._put_down(order[0].task_id)
            on_end()

    def _put_down(self, task_id: str) -> None:
        with self._lock:
            self._in_hand.pop(task_id, None)

    def _tell(self, task: Task, base_url: str, attempts: int, fault: Fault | None) -> None:
        """Make one attempt, and keep what came of it; that is tried until it is kept, lest it be sent again."""
        late = fault.delay if fault else 0.0
        attempt = None if late or self._is_dropped(fault) else self._attempt(task, base_url, fault)
        failures = 0
        while not self.closing.is_set():
            try:
                self._keep(task, attempts, attempt, late)
            except sqlite3.OperationalError as error:
                failures += 1
                _log.warning("what came of the webhook of task %s is not kept yet: %s", task.task_id, error)
                self.closing.wait(pause_after(failures))
            else:
                return

    def _keep(self, task: Task, attempts: int, attempt: Attempt | None, late: float) -> None:
        with self.storing:
            if self.closing.is_set():
                return
            until: float | None = None
            if late or not self._is_done(attempt, attempts + 1):
                until = self.clock() + (late or WEBHOOK_PAUSE)
            self.store.keep_attempt(task.task_id, attempt, until, attempts if late else attempts + 1)

    def _is_done(self, attempt: Attempt | None, attempts: int) -> bool:
        return attempt is None or attempt.delivered or attempts >= ATTEMPTS

    def _is_dropped(self, fault: Fault | None) -> bool:
        return fault is not None and fault.kind == "lose"

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
        told = _without_query(endpoint)
        try:
            status = self.send(endpoint, json.dumps(notification).encode(), headers)
        except Exception as error:  # whatever it is, it is this webhook's failure alone
            why = f"its address was not asked: {error}" if isinstance(error, NotFetched) else type(error).__name__
            _log.warning("the webhook of task %s was not delivered: %s", task.task_id, why)
            cause = getattr(error, "reason", None)  # of a URLError; its text could hold the address
            return Attempt(self.clock(), told, None, type(cause if isinstance(cause, Exception) else error).__name__)
        attempt = Attempt(self.clock(), told, status)
        if not attempt.delivered:
            _log.warning("the webhook of task %s was answered with HTTP %d", task.task_id, status)
        return attempt


def _host(url: str) -> str:
    """Return the host and port of an address, which share a limit on deliveries."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _without_query(url: str) -> str:
    """An address as it may be kept: what may hold a secret left out."""
    head, slashes, rest = url.partition("?")[0].partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{slashes}{host.rpartition('@')[2]}{slash}{path}"
