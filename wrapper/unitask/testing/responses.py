"""Requests that arrived, and the responses of the provider in the form of each protocol."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast
from urllib.parse import unquote

import httpx
from unitask_api import contract
from unitask_api.states import QUEUED, State, state_of

from .. import tasks
from .._core.matching import CORRELATION_PARAMETER
from .._model._json import as_object
from .._model.task import CREDITS_PER_USD
from .._model.timestamp import Timestamp
from ..inputs import TaskInput
from .strategies import documented_example

NOT_YET = "0001-01-01T00:00:00Z"

Kind: TypeAlias = type[TaskInput[Any]]
Reply: TypeAlias = Mapping[str, Any] | bytes | httpx.Response | BaseException


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that arrived, with its whole URL; `body` is the JSON, None without any."""

    method: str
    url: str
    body: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, slots=True)
class ReceivedTask:
    """A submission that arrived, accepted or not.

    Attributes:
        id: The id of the task; empty when it was not accepted.
        kind: Its class in `unitask.tasks`; `tasks.Raw` when the catalogue does not have it.
        input: The input as sent: a file is base64, or the URL of an upload (see `UnitaskProvider.files`).
        options: webhook_url, webhook_secret, service_mode, those that were given; a legacy task has none.
    """

    id: str
    kind: Kind
    model: str
    task_type: str
    input: dict[str, Any] = field(repr=False)
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """The script of a submission: `statuses` for its answer and each poll, `instead` in place of its answer."""

    kind: Kind | None = None
    statuses: Sequence[str | Reply] = ("pending", "completed")
    output: Mapping[str, Any] | None = None
    failure: str = ""
    code: int = 0
    instead: Reply | None = None
    accepted: bool = True

    def __post_init__(self) -> None:
        kind = cast("object", self.kind)
        if kind is not None and not (isinstance(kind, type) and issubclass(kind, TaskInput)):
            raise TypeError(f"{kind!r} is not a class of unitask.tasks, such as tasks.FaceSwap")
        if isinstance(self.statuses, str | bytes) or not self.statuses:
            raise TypeError(f"statuses is {self.statuses!r}: give a list of words, such as ['pending', 'completed']")
        if entry := entry_of(self.kind) if self.kind else None:
            known: dict[str, Any] = contract.components()[entry.output].get("properties", {})
            if unknown := sorted((self.output or {}).keys() - known.keys()):
                raise TypeError(f"the output of {entry.name} has no {', '.join(unknown)}; it has {', '.join(known)}")


@dataclass(slots=True)
class KnownTask:
    """An accepted task."""

    received: ReceivedTask
    plan: Plan
    created: Timestamp
    output: dict[str, Any]
    config: dict[str, Any]
    polls: int = 0
    status: str = "pending"
    ended_at: str = NOT_YET


def operation_of(method: str, path: str) -> tuple[str, str]:
    """Return the operationId of a request, empty if the spec has none, and the task id in its path."""
    try:
        operation, values = contract.match(method, path)
    except LookupError:
        return "", ""
    return operation, unquote(values[0]) if values else ""


def create_of(operation: str, body: Any) -> ReceivedTask | None:
    """Return the submission that a request is, None for any other request."""
    sent = as_object(body)
    if operation == "create_task":
        model, task_type, given = sent["model"], sent["task_type"], sent["input"]
        entry = contract.find(model, task_type, given)
        kind = getattr(tasks, entry.name) if entry else tasks.Raw
        return ReceivedTask("", kind, model, task_type, given, _options(sent))
    entry = next((entry for entry in contract.task_types().values() if entry.create == operation), None)
    if entry is None:
        return None
    return ReceivedTask("", getattr(tasks, entry.name), entry.model, entry.task_type, sent, {})


def _options(sent: dict[str, Any]) -> dict[str, str]:
    """Return the options as given to the client, without the correlation id that it adds to the webhook URL."""
    config = as_object(sent.get("config"))
    webhook = as_object(config.get("webhook_config"))
    url = re.sub(rf"[?&]{CORRELATION_PARAMETER}=[0-9a-f]+(?=#|$)", "", str(webhook.get("endpoint", "")))
    secret, mode = webhook.get("secret"), config.get("service_mode")
    given = {"webhook_url": url, "webhook_secret": secret, "service_mode": mode}
    return {name: value for name, value in given.items() if value}


def entry_of(kind: Kind) -> contract.TaskType | None:
    """Return the catalogue entry of a task type, None for `tasks.Raw`."""
    return contract.task_types().get(kind.__name__)


def task_response(task: KnownTask) -> dict[str, Any]:
    """Return the answer to a poll of a task."""
    state, received, plan = state_of(task.status), task.received, task.plan
    output = task.output if state is State.COMPLETED else None
    failed = state is State.FAILED
    entry = entry_of(received.kind)
    if entry and entry.protocol != "unified":
        return _legacy_response(contract.document()["x-protocols"][entry.protocol], task, output, failed=failed)
    price = round((entry.price_usd or 0) * CREDITS_PER_USD) if entry and not failed else 0
    data: dict[str, Any] = {
        "task_id": received.id,
        "model": received.model,
        "task_type": received.task_type,
        "status": task.status,
        "config": {"service_mode": "", "webhook_config": {"endpoint": "", "secret": ""}, **task.config},
        "input": received.input,
        "output": output,
        "meta": {
            "created_at": task.created.utc.isoformat(),
            "started_at": NOT_YET if state in QUEUED else task.created.utc.isoformat(),
            "ended_at": task.ended_at,
            "usage": {"type": "point", "frozen": 0, "consume": price},
        },
        "detail": None,
        "logs": [],
        "error": {"code": plan.code if failed else 0, "raw_message": "", "message": plan.failure if failed else ""},
    }
    return {"code": 200, "data": data, "message": "success"}


def _legacy_response(
    rules: Mapping[str, Any], task: KnownTask, output: Mapping[str, Any] | None, *, failed: bool
) -> dict[str, Any]:
    """Return the answer for a legacy protocol, whose entry in x-protocols gives the place of each field."""
    body: dict[str, Any] = {}
    _put(body, rules["task_id"], task.received.id)
    _put(body, rules["status"], task.status)
    for name, pointer in rules["output"].items():
        _put(body, pointer, (output or {}).get(name))
    if failed and "reasons" in rules:
        _put(body, rules["reasons"], [task.plan.failure])
    return body


def _put(body: dict[str, Any], pointer: str, value: Any) -> None:
    *parents, last = pointer.split("/")[1:]
    for key in parents:
        body = body.setdefault(key, {})
    body[last] = value


def history_row(task: KnownTask) -> dict[str, Any]:
    """Return the row of a task in the history."""
    (documented,) = documented_example("account.history.200")["data"]["data"]
    received, created = task.received, task.created.utc.isoformat()
    detail = {"model": received.model, "task_id": received.id, "workflow_type": received.task_type}
    known = {"task_id": received.id, "status": task.status, "created_at": created, "detail": detail}
    return {**documented, **known}
