"""The only module of the wrapper that touches the generated endpoints, and only their pure request builders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from unitask_api.api.account import get_account_info, list_active_tasks, list_task_history
from unitask_api.api.task import cancel_task, cancel_tasks, create_task, get_task
from unitask_api.api.upload import upload_file

from . import protocols
from .messages import Send

if TYPE_CHECKING:
    from unitask_api.models import TaskRequest


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows of the history.

    Attributes:
        start: Only tasks created from this time on; unix seconds.
        end: Only tasks created up to this time; unix seconds.
        group: Only of this group of models, such as image_toolkit.
        page_size: Rows a page, 1 to 100.
        page: Which page, from 1.
    """

    start: int | None = None
    end: int | None = None
    group: str | None = None
    page_size: int = 100
    page: int = 1


def create(body: dict[str, Any]) -> Send:
    """Create a task from a request body (TaskRequest), over the endpoint of its protocol."""
    if body["model"] == protocols.LEGACY:
        return replace(protocols.create(body), submission=True)
    return replace(_send(create_task.build_request(body=cast("TaskRequest", body))), submission=True)


def look(task_id: str, timeout: float | None = None, protocol: str = protocols.UNIFIED) -> Send:
    """Look at a task; `timeout` in seconds, None for what the client is set to."""
    if protocol != protocols.UNIFIED:
        return protocols.look(task_id, protocol, timeout)
    return _send(get_task.build_request(task_id), timeout)


def cancel(task_id: str) -> Send:
    """Cancel a pending task."""
    return _send(cancel_task.build_request(task_id))


def cancel_many(created_before: int, model: str | None) -> Send:
    """Cancel the pending tasks created before a unix time in seconds, of one model group or of all."""
    return _send(cancel_tasks.build_request(created_before=created_before, model=model))


def account() -> Send:
    """Account, balance and limits."""
    return _send(get_account_info.build_request())


def active_tasks() -> Send:
    """Tasks that are not done, by group."""
    return _send(list_active_tasks.build_request())


def history(query: Query) -> Send:
    """One page of past tasks."""
    given = {"model": query.group, "start_time": query.start, "end_time": query.end}
    filters: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return _send(list_task_history.build_request(page=query.page, page_size=query.page_size, **filters))


def upload(origin: str, file_name: str, file_data: str) -> Send:
    """Upload a file, in base64; `origin` is scheme and host of the server that takes uploads."""
    send = _send(upload_file.build_request(body={"file_name": file_name, "file_data": file_data}))
    return replace(send, path=origin + send.path)


def _send(request: dict[str, Any], timeout: float | None = None) -> Send:
    return Send(request["method"].upper(), request["url"], request.get("json"), request.get("params", {}), timeout)
