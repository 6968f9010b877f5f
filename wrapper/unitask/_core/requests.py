"""Requests, made by the request builders of the generated client; those of other protocols by `x-protocols`."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import quote

from unitask_api import contract
from unitask_api.api.account import list_task_history
from unitask_api.api.task import cancel_task, cancel_tasks
from unitask_api.api.upload import upload_file

from ..errors import InvalidInput
from .effects import SendRequest

UNIFIED = "unified"
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")  # ids that are the same in a URL
LEGACY = "legacy"  # the model of all task types of other protocols in the catalogue


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which rows of the history: a time in unix seconds, a group of models, and a page (of 1 to 100 rows, from 1)."""

    start: int | None = None
    end: int | None = None
    group: str | None = None
    page_size: int = 100
    page: int = 1


def create(body: dict[str, Any], check: Callable[[], object] | None = None) -> SendRequest:
    """Submit a task; `check` as in `SendRequest`."""
    name, sent_body = "create_task", body
    if body["model"] == LEGACY:
        entry = contract.find(body["model"], body["task_type"])
        if entry is None:
            problem = f"the catalogue has no task {body['model']} {body['task_type']!r:.80}"
            raise InvalidInput(problem, undone="nothing was sent")
        name, sent_body = entry.create, body["input"]
    operation = contract.operation(name)
    return SendRequest(operation.method, operation.path, sent_body, submission=True, check=check)


def get_task(task_id: str, timeout: float | None = None, protocol: str = UNIFIED) -> SendRequest:
    """Poll a task; `timeout` in seconds, None for the client's."""
    operation = _poll_of(protocol)
    if "{task_id}" in operation.path:
        shown = task_id if _PLAIN.fullmatch(task_id) else quote(task_id, safe="")
        return SendRequest(operation.method, operation.path.replace("{task_id}", shown), timeout=timeout)
    return SendRequest(operation.method, operation.path, {"task_id": task_id}, timeout=timeout)


@cache
def _poll_of(protocol: str) -> contract.Operation:
    is_unified = protocol == UNIFIED
    return contract.operation("get_task" if is_unified else contract.document()["x-protocols"][protocol]["poll"])


def cancel(task_id: str) -> SendRequest:
    return sent(cancel_task.build_request(task_id))


def cancel_many(created_before: int, model: str | None) -> SendRequest:
    return sent(cancel_tasks.build_request(created_before=created_before, model=model))


def history(query: HistoryQuery) -> SendRequest:
    given = {"model": query.group, "start_time": query.start, "end_time": query.end}
    filters: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return sent(list_task_history.build_request(page=query.page, page_size=query.page_size, **filters))


def upload(origin: str, file_name: str, file_data: str) -> SendRequest:
    """Upload a file, in base64; `origin` is scheme and host of the server that takes uploads."""
    send = sent(upload_file.build_request(body={"file_name": file_name, "file_data": file_data}))
    return replace(send, path=origin + send.path)


def sent(request: dict[str, Any], timeout: float | None = None) -> SendRequest:
    return SendRequest(
        request["method"].upper(), request["url"], request.get("json"), request.get("params", {}), timeout
    )
