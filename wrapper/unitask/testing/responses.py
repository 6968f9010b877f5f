"""The responses of the provider: a task in the form of its protocol, and a row of the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import httpx
from unitask_api import contract

from .._core import protocols
from .._model.state import State, state_of
from .._model.task import CREDITS_PER_USD
from .._model.timestamp import Timestamp
from .recorded import Kind, ReceivedTask, entry_of
from .strategies import documented_example

NOT_YET = "0001-01-01T00:00:00Z"

Reply: TypeAlias = Mapping[str, Any] | bytes | httpx.Response | BaseException


@dataclass(frozen=True, slots=True)
class Plan:
    """The script of a submission: `statuses` for its answer and each poll, `instead` in place of its answer."""

    kind: Kind | None = None
    statuses: tuple[str | Reply, ...] = ("pending", "completed")
    output: Mapping[str, Any] | None = None
    failure: str = ""
    code: int = 0
    instead: Reply | None = None
    accepted: bool = True


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


def task_response(task: KnownTask) -> dict[str, Any]:
    """Return the answer to a poll of a task, in the form of its protocol."""
    state, received, plan = state_of(task.status), task.received, task.plan
    output = task.output if state is State.COMPLETED else None
    failed = state is State.FAILED
    entry = entry_of(received.kind)
    if entry and entry.protocol != protocols.UNIFIED:
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
            "created_at": format_time(task.created),
            "started_at": NOT_YET if state in (State.PENDING, State.STAGED) else format_time(task.created),
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
    """Return the answer for a legacy protocol: x-protocols gives the place of each field."""
    body: dict[str, Any] = {}
    _put(body, rules["task_id"], task.received.id)
    _put(body, rules["status"], task.status)
    for name, pointer in rules["output"].items():
        _put(body, pointer, (output or {}).get(name))
    if failed and "reasons" in rules:
        _put(body, rules["reasons"], [task.plan.failure])
    return body


def _put(body: dict[str, Any], pointer: str, value: Any) -> None:
    *way, last = pointer.split("/")[1:]
    for key in way:
        body = body.setdefault(key, {})
    body[last] = value


def history_row(task: KnownTask) -> dict[str, Any]:
    """Return the row of a task in the history."""
    (documented,) = documented_example("account.history.200")["data"]["data"]
    received = task.received
    detail = {"model": received.model, "task_id": received.id, "workflow_type": received.task_type}
    known = {"task_id": received.id, "status": task.status, "created_at": format_time(task.created), "detail": detail}
    return {**documented, **known}


def format_time(moment: Timestamp) -> str:
    """Format a time as the provider does."""
    return datetime.isoformat(moment.utc)
