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
import urllib.request
from collections.abc import Callable, Mapping

from unitask_sandbox.inputs import opener
from unitask_sandbox.store import Attempt, Store
from unitask_sandbox.task import Task

ATTEMPTS = 3
PAUSE = 5.0  # seconds between two attempts
SEND_SECONDS = 10.0

_log = logging.getLogger("unitask_sandbox")


def post_webhook(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """POST to an http or https address, and return the status of the answer; redirects are not followed.

    Raises:
        OSError: No answer came within 10 seconds.
        ValueError: The address or a header cannot be sent.
    """
    request = urllib.request.Request(url, body, dict(headers), method="POST")  # noqa: S310 - see `opener`
    with opener(follow=False).open(request, timeout=SEND_SECONDS) as answer:
        status: int = answer.status
        return status


class Courier:
    """Delivers the webhooks that are due.

    Args:
        store: Lists them.
        clock: Returns the time: unix seconds.
        send: Posts one, and returns the HTTP status of the answer.
        closing: Set when the store is about to be closed; `storing` is held while it is used.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        send: Callable[[str, bytes, Mapping[str, str]], int],
        closing: threading.Event,
    ) -> None:
        self.storing = threading.Lock()
        self._store = store
        self._clock = clock
        self._send = send
        self._closing = closing

    def deliver(self) -> float | None:
        """Send everything that is due now, and return when more will be; None when nothing is left."""
        with self.storing:
            due = [] if self._closing.is_set() else self._store.due_webhooks(self._clock())
        for task, base_url, attempts in due:
            attempt = self._attempt(task, base_url)
            with self.storing:
                if self._closing.is_set():
                    return None
                self._store.note_attempt(task.task_id, attempt)
                if attempt.delivered or attempts + 1 == ATTEMPTS:
                    self._store.forget_webhook(task.task_id)
                else:
                    self._store.delay_webhook(task.task_id, self._clock() + PAUSE)
        with self.storing:
            return None if self._closing.is_set() else self._store.next_webhook()

    def _attempt(self, task: Task, base_url: str) -> Attempt:
        webhook = task.config["webhook_config"]
        headers = {"content-type": "application/json", "user-agent": "unitask-sandbox"}
        if webhook["secret"]:
            headers["x-webhook-secret"] = webhook["secret"]
        notification = {"timestamp": int(task.ended_at or 0), "data": task.body(base_url)}
        told = _without_query(webhook["endpoint"])
        try:
            status = self._send(webhook["endpoint"], json.dumps(notification).encode(), headers)
        except Exception as error:  # whatever it is, it is this webhook's failure alone
            _log.warning("the webhook of task %s was not delivered: %s", task.task_id, type(error).__name__)
            cause = getattr(error, "reason", None)  # of a URLError; its text could hold the address
            cause = cause if isinstance(cause, Exception) else error
            return Attempt(self._clock(), told, None, type(cause).__name__)
        attempt = Attempt(self._clock(), told, status)
        if not attempt.delivered:
            _log.warning("the webhook of task %s was answered with HTTP %d", task.task_id, status)
        return attempt


def _without_query(url: str) -> str:
    """An address as it may be kept: what may hold a secret left out."""
    head, slashes, rest = url.partition("?")[0].partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{slashes}{host.rpartition('@')[2]}{slash}{path}"
