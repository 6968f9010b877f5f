"""A provider in memory: it answers the clients as a test scripts it, and records the requests.

It validates no request, because the client does that. Requests without a script succeed with documented responses.
"""

import asyncio
import base64
import json
import mimetypes
import threading
import time
import uuid
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Self, cast

import httpx
import pytest
from unitask_api import contract
from unitask_api.states import ENDED, QUEUED, state_of

from .._base_client import BaseClient, Defaults
from .._model._json import as_object
from . import responses, samples
from .clock import InstantClock
from .responses import NOT_YET, Kind, KnownTask, Plan, ReceivedRequest, ReceivedTask, Reply

URL = "https://provider.test"
KEY = "a-test-key"
FILES = "https://files.test"
SANDBOX_MISSING = "the fixture unitask_sandbox needs the local provider: pip install 'unitask[sandbox]' ({})"
LONGEST_SLEEP = 0.02  # seconds, of clients of the sandbox


class UnitaskProvider:
    """The fixture `unitask_provider`; outside of pytest a context manager.

    Every `Client()` and `AsyncClient()` that is made inside the `with` block sends its requests to this provider. No
    request leaves the process, a wait of hours takes no time, and UNITASK_BASE_URL and UNITASK_API_KEY are set.

    By default a submission is accepted, and the first poll returns the completed task with an output made from the
    schema. Output files can be downloaded: a small grey PNG for a picture, a few bytes for anything else. Cancel,
    history, account and uploads are answered too. Notifications are not sent.

    Each scripting method applies to one task type, or to all types if none is given:

    - with `times`, to so many of the next submissions; several such scripts are used in their order;
    - without it, to all later submissions. A script for a task type wins over one for all types.

    Attributes:
        tasks: The submissions that arrived, in order.
        requests: All requests that arrived, downloads included.
        files: The content of each URL, output files and uploads. A URL that is deleted here gives HTTP 404.
        down: Whether every connection fails.
        clock: The clock of the provider and of the clients; `clock.sleeps` are the pauses of the clients.
        transport: For a client that is made without `with`, with `transport=`, `clock=` and `sleep=`.

    Args:
        strict: Whether a request that `answers` does not cover fails the test with an AssertionError.
        clock: Its time; None for a new clock.
    """

    def __init__(self, *, strict: bool = False, clock: InstantClock | None = None) -> None:
        self.tasks: list[ReceivedTask] = []
        self.requests: list[ReceivedRequest] = []
        self.files: dict[str, bytes] = {}
        self.down: bool = False
        self.clock: InstantClock = clock or InstantClock()
        self.transport: httpx.MockTransport = httpx.MockTransport(self._answer)
        self._strict = strict
        self._known: dict[str, KnownTask] = {}
        self._next: list[Plan] = []
        self._lasting: dict[Kind | None, Plan] = {}
        self._replies: deque[Reply] = deque()
        self._lock = threading.Lock()
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        clock = self.clock
        use(self._patch, URL, KEY, Defaults(self.transport, clock, clock.sleep, clock.sleep_async))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    @property
    def lines(self) -> list[str]:
        """Method and path of each request that arrived, with its query, such as "POST /api/v1/task"."""
        return [f"{each.method} {httpx.URL(each.url).raw_path.decode()}" for each in self.requests]

    def completes(
        self,
        kind: Kind | None = None,
        *,
        statuses: Sequence[str | Reply] = ("pending", "completed"),
        times: int | None = None,
        **output: Any,
    ) -> None:
        """Complete tasks.

        Args:
            kind: A class of `unitask.tasks`; None for all.
            statuses: The status in the answer to the submission, then to each poll; the last one repeats. An item
                that is not text is the whole answer, as for `answers`.
            times: The number of submissions; None for all later ones.
            **output: The fields of the output; bytes become a file with a URL. Without fields, the default output.
                A download refuses text in place of a picture, a video or a sound, so not all bytes may be text.
        """
        self._script(Plan(kind, statuses, output or None), times)

    def fails(
        self,
        message: str,
        kind: Kind | None = None,
        *,
        code: int = 10000,
        statuses: Sequence[str | Reply] = ("pending", "failed"),
        times: int | None = None,
    ) -> None:
        """Accept tasks, and end them without a result; `statuses` as for `completes`.

        The message is the reason in the provider's words, such as "no face found in the image", and the code its own.
        """
        self._script(Plan(kind, statuses, failure=message, code=code), times)

    def refuses(
        self,
        kind: Kind | None = None,
        *,
        status: int = 402,
        message: str = "",
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Refuse submissions. After a 429 clients send the submission again, up to four times in all.

        The message is the reason in the provider's words; by default that of HTTP for the status.
        """
        words = message or httpx.codes.get_reason_phrase(status).lower() or "refused"
        self._script(Plan(kind, instead=_refusal(status, words, headers), accepted=False), times)

    def loses_the_answer(self, kind: Kind | None = None, *, accepted: bool = True, times: int | None = None) -> None:
        """Receive submissions and give no answer, as after a timeout; `accepted`: the task is created nevertheless."""
        self._script(Plan(kind, instead=httpx.ReadTimeout("the answer is lost"), accepted=accepted), times)

    def answers(self, *replies: Reply) -> None:
        """Answer the next requests of any kind with these replies, one each.

        Args:
            *replies: A JSON object or bytes, the body of HTTP 200; an `httpx.Response`, which is sent unchanged, so add
                a Date header if `find` must read the provider's time from it; or an exception that the transport
                raises, such as `httpx.ReadTimeout`.
        """
        self._replies.extend(replies)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = _json(request.content)
        with self._lock:
            self.requests.append(ReceivedRequest(request.method, str(request.url), body, request.headers))
            if self.down:
                raise httpx.ConnectError("the provider is down")
            reply = self._reply(request, body)
        if isinstance(reply, BaseException):
            raise reply.with_traceback(None)  # it may be raised again
        if isinstance(reply, httpx.Response):
            is_new = not reply.is_stream_consumed
            return reply if is_new else httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)
        content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        date = formatdate(self.clock().unix, usegmt=True)  # `find` compares times with it
        return httpx.Response(200, headers={"date": date, "content-type": "application/json"}, content=content)

    def _reply(self, request: httpx.Request, body: Any) -> Reply:
        url = str(request.url)
        if request.method == "GET" and url in self.files and not self._replies:
            kind = mimetypes.guess_type(request.url.path)[0] or "application/octet-stream"
            return httpx.Response(200, headers={"content-type": kind}, content=self.files[url])
        operation, task_id = responses.operation_of(request.method, request.url.path)
        created = responses.create_of(operation, body)
        if self._replies:
            reply = self._replies.popleft()
            if created:
                self.tasks.append(created)
            if isinstance(reply, Mapping):
                samples.add_files(reply, self.files)
            return reply
        assert not self._strict, f"{request.method} {url} is not in the script"
        if created:
            return self._create(created, as_object(body))
        sent_id = str(as_object(body).get("task_id", task_id))  # legacy polls name it in the body
        return self._reply_to(operation, sent_id, body, request.url.params)

    def _reply_to(self, operation: str, task_id: str, body: Any, params: httpx.QueryParams) -> Reply:
        if operation in ("get_task", *(rules["poll"] for rules in contract.document()["x-protocols"].values())):
            known = self._known.get(task_id)
            return self._task_response(known) if known else _refusal(404, "task not found")
        match operation:
            case "cancel_task":
                return self._cancel(task_id)
            case "cancel_tasks":
                for task in self._known.values():
                    if task.created.unix < float(params.get("created_before", "inf")):
                        self._cancel(task.received.id)
                return {"code": 200, "message": "success"}
            case "list_task_history":
                return self._history(params)
            case "upload_file":
                url = f"{FILES}/uploads/{body['file_name']}"
                self.files[url] = base64.b64decode(body["file_data"])
                return {"code": 200, "data": {"url": url}, "message": "success"}
            case _:
                return _documented_answer(operation)

    def _create(self, received: ReceivedTask, body: dict[str, Any]) -> Reply:
        plan = self._plan(received.kind)
        if not plan.accepted:
            self.tasks.append(received)
            return cast("Reply", plan.instead)
        received = replace(received, id=str(uuid.UUID(int=len(self._known) + 1)))
        self.tasks.append(received)
        entry = responses.entry_of(received.kind)
        output = plan.output or (samples.output_of(contract.components()[entry.output]) if entry else {})
        output = samples.with_files(output, f"{FILES}/{received.id}", self.files)
        task = KnownTask(received, plan, self.clock(), output, as_object(body.get("config")))
        self._known[received.id] = task
        response = self._task_response(task)
        return plan.instead or response

    def _task_response(self, task: KnownTask) -> Reply:
        """Return the answer to the next poll of a task."""
        due = task.plan.statuses[min(task.polls, len(task.plan.statuses) - 1)]
        task.polls += 1
        if not isinstance(due, str):
            return due
        task.status = due
        if state_of(due) in ENDED and task.ended_at == NOT_YET:
            task.ended_at = self.clock().utc.isoformat()
        return responses.task_response(task)

    def _cancel(self, task_id: str) -> Reply:
        task = self._known.get(task_id)
        if task is None:
            return _refusal(404, "task not found")
        if state_of(task.status) not in QUEUED:
            return _refusal(400, f"task {task_id} is {task.status}; only a pending task can be cancelled")
        task.status, task.plan = "cancelled", replace(task.plan, statuses=("cancelled",))
        return {"code": 200, "message": f"task {task_id} canceled"}

    def _history(self, params: httpx.QueryParams) -> Reply:
        """Return a page of the tasks, the newest first; the filter by model is ignored."""
        first, last = float(params.get("start_time", 0)), float(params.get("end_time", "inf"))
        tasks = [task for task in reversed(self._known.values()) if first <= task.created.unix <= last]
        rows = [responses.history_row(task) for task in tasks]
        page, size = int(params.get("page", 1)), int(params.get("page_size", 10))
        data = {"data": rows[(page - 1) * size : page * size], "page": page, "size": size, "total": len(rows)}
        return {"code": 200, "data": data}

    def _script(self, plan: Plan, times: int | None) -> None:
        if times is None:
            self._lasting[plan.kind] = plan
        else:
            self._next += [plan] * times

    def _plan(self, kind: Kind) -> Plan:
        for place, plan in enumerate(self._next):
            if plan.kind in (None, kind):
                return self._next.pop(place)
        return self._lasting.get(kind) or self._lasting.get(None) or Plan()


@contextmanager
def running_sandbox() -> Generator[str]:
    """Run the local provider, and make it the default of all clients."""
    try:
        from unitask_sandbox import Settings, running
    except ImportError as error:
        raise pytest.fail.Exception(SANDBOX_MISSING.format(error), pytrace=False) from None

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, LONGEST_SLEEP))

    async def sleep_async(seconds: float) -> None:
        await asyncio.sleep(min(seconds, LONGEST_SLEEP))

    with running(Settings()) as url, pytest.MonkeyPatch.context() as patch:
        use(patch, url, "sandbox", Defaults(sleep=sleep, sleep_async=sleep_async))
        yield url


def use(patch: pytest.MonkeyPatch, url: str, key: str, defaults: Defaults) -> None:
    """Make the clients use a provider."""
    patch.setenv("UNITASK_BASE_URL", url)
    patch.setenv("UNITASK_API_KEY", key)
    patch.setattr(BaseClient, "defaults", defaults)


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, headers=headers, json={"code": status, "message": message, "data": None})


def _documented_answer(operation: str) -> Reply:
    """Return the documented response of an operation that is not scripted."""
    for example in contract.document()["components"]["examples"].values():
        if (example["x-operation"], example["x-part"]) == (operation, "200"):
            body: dict[str, Any] = example["value"]
            return body
    return _refusal(404, "unitask_provider has no answer for this address: give one with unitask_provider.answers(...)")


def _json(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None
