"""The only module of the wrapper that touches the generated endpoints, and only their pure request builders.

Each is imported where it is used: a first create needs one of them.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from . import protocols
from .messages import Send

if TYPE_CHECKING:
    from unitask_api.models import TaskRequest

    from .asking import Query


def load() -> None:
    """Load what creates and looks need, before any of them.

    An interruption inside an import can leave a lock of Python locked, and other threads wait for it for ever.
    """
    for name in ("create_task", "get_task"):
        import_module(f"unitask_api.api.task.{name}")


def create(body: dict[str, Any]) -> Send:
    """Create a task from a request body (TaskRequest), over the endpoint of its protocol."""
    if body["model"] == protocols.LEGACY:
        return replace(protocols.create(body), submission=True)
    from unitask_api.api.task import create_task

    return replace(_send(create_task.build_request(body=cast("TaskRequest", body))), submission=True)


def look(task_id: str, timeout: float | None = None, protocol: str = protocols.UNIFIED) -> Send:
    """Look at a task; `timeout` in seconds, None for what the client is set to."""
    if protocol != protocols.UNIFIED:
        return protocols.look(task_id, protocol, timeout)
    from unitask_api.api.task import get_task

    return _send(get_task.build_request(task_id), timeout)


def cancel(task_id: str) -> Send:
    """Cancel a pending task."""
    from unitask_api.api.task import cancel_task

    return _send(cancel_task.build_request(task_id))


def cancel_many(created_before: int, model: str | None) -> Send:
    """Cancel the pending tasks created before a unix time in seconds, of one model group or of all."""
    from unitask_api.api.task import cancel_tasks

    return _send(cancel_tasks.build_request(created_before=created_before, model=model))


def account() -> Send:
    """Account, balance and limits."""
    from unitask_api.api.account import get_account_info

    return _send(get_account_info.build_request())


def active_tasks() -> Send:
    """Tasks that are not done, by group."""
    from unitask_api.api.account import list_active_tasks

    return _send(list_active_tasks.build_request())


def history(query: Query) -> Send:
    """One page of past tasks."""
    from unitask_api.api.account import list_task_history

    given = {"model": query.group, "start_time": query.start, "end_time": query.end}
    filters: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return _send(list_task_history.build_request(page=query.page, page_size=query.page_size, **filters))


def upload(origin: str, file_name: str, file_data: str) -> Send:
    """Upload a file, in base64; `origin` is scheme and host of the server that takes uploads."""
    from unitask_api.api.upload import upload_file

    send = _send(upload_file.build_request(body={"file_name": file_name, "file_data": file_data}))
    return replace(send, path=origin + send.path)


def _send(request: dict[str, Any], timeout: float | None = None) -> Send:
    return Send(request["method"].upper(), request["url"], request.get("json"), request.get("params", {}), timeout)
