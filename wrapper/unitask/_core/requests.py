"""The only module of the wrapper that touches the generated endpoints, and only their pure request builders."""

from __future__ import annotations

from typing import Any

from unitask_api.api.task import cancel_task, cancel_tasks, create_task, get_task
from unitask_api.models import TaskRequest
from unitask_api.types import UNSET

from . import protocols
from .messages import Send


def create(body: dict[str, Any]) -> Send:
    """Create a task from a request body (TaskRequest), over the endpoint of its protocol."""
    if body["model"] == protocols.LEGACY:
        return protocols.create(body)
    return _send(create_task.build_request(body=TaskRequest.from_dict(body)))


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
    model_or_absent = UNSET if model is None else model
    return _send(cancel_tasks.build_request(created_before=created_before, model=model_or_absent))


def _send(request: dict[str, Any], timeout: float | None = None) -> Send:
    return Send(request["method"].upper(), request["url"], request.get("json"), request.get("params", {}), timeout)
