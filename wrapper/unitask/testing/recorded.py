"""Requests that arrived, and the submissions among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from unitask_api import contract

from .. import tasks
from .._core.recovery import CORRELATION_PARAMETER
from .._model._json import as_object
from ..inputs import TaskInput

Kind: TypeAlias = type[TaskInput[Any]]


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that arrived.

    Attributes:
        method: GET, POST ...
        url: The complete URL.
        body: The JSON body, None without one.
        headers: The headers; names are case-insensitive.
    """

    method: str
    url: str
    body: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, slots=True)
class ReceivedTask:
    """A submission that arrived, accepted or not.

    Attributes:
        id: The id of the task; empty when it was not accepted.
        kind: Its class in `unitask.tasks`; `tasks.Raw` when the catalogue does not know it.
        model: First half of its name on the wire.
        task_type: Second half of its name on the wire.
        input: The input as sent: a file is base64, or the address of an upload (see `UnitaskProvider.files`).
        options: webhook_url, webhook_secret, service_mode, those that were given; a legacy task has none.
    """

    id: str
    kind: Kind
    model: str
    task_type: str
    input: dict[str, Any] = field(repr=False)
    options: dict[str, str]


def operation_of(method: str, path: str) -> tuple[str, str]:
    """Return the operationId of a request, empty if the spec has none, and the task id in its path."""
    try:
        operation, values = contract.match(method, path)
    except LookupError:
        return "", ""
    return operation, unquote(values[0]) if values else ""


def poll_operations() -> set[str]:
    """Return the operationIds that poll a task."""
    return {"get_task", *(rules["poll"] for rules in contract.document()["x-protocols"].values())}


def create_of(operation: str, body: Any) -> ReceivedTask | None:
    """Return the submission that a request holds, None for any other request."""
    sent = as_object(body)
    if operation == "create_task":
        model, task_type, given = sent["model"], sent["task_type"], sent["input"]
        return ReceivedTask("", _kind(model, task_type, given), model, task_type, given, _options(sent))
    entry = next((entry for entry in contract.task_types().values() if entry.create == operation), None)
    if entry is None:
        return None
    return ReceivedTask("", getattr(tasks, entry.name), entry.model, entry.task_type, sent, {})


def _kind(model: str, task_type: str, given: Mapping[str, Any]) -> Kind:
    """Return the class of `unitask.tasks` of a submission."""
    entry = contract.find(model, task_type, given)
    return getattr(tasks, entry.name) if entry else tasks.Raw


def _options(sent: dict[str, Any]) -> dict[str, str]:
    """Return the options as given to the client, without the correlation id that it adds to the webhook URL."""
    config = as_object(sent.get("config"))
    webhook = as_object(config.get("webhook_config"))
    url = re.sub(rf"[?&]{CORRELATION_PARAMETER}=[0-9a-f]+(?=#|$)", "", str(webhook.get("endpoint", "")))
    given = {
        "webhook_url": url,
        "webhook_secret": webhook.get("secret"),
        "service_mode": config.get("service_mode"),
    }
    return {name: value for name, value in given.items() if value}


def entry_of(kind: Kind) -> contract.TaskType | None:
    """Return the catalogue entry of a task type, None for an unknown one."""
    return contract.task_types().get(kind.__name__)
