"""Planted bugs: each breaks one promise of the provider, so that a contract check can be seen to find it.

A defect is switched on by name in `Settings.defects`. Rules of this file: what a defect does is written here, at one of
two seams, and the honest code names no defect. `Rules` is read where the provider decides; `answer` is where every
answer goes out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

DEFECTS: Mapping[str, str] = MappingProxyType(
    {
        "no-auth": "any key is accepted, and none too",
        "status-number": "the status of a task is sent as a number",
        "missing-id": "a create answers without task_id",
        "accepts-anything": "an invalid create is accepted as if it were the documented face swap",
        "lost-task": "a created task is not found",
        "bare-error": "a refusal is plain text instead of the envelope",
        "undocumented-crash": "a look at a task answers HTTP 500 with an HTML page",
        "code-as-text": "code is sent as text",
        "output-missing": "a completed task has an empty output",
        "double-charge": "a create is charged twice",
        "late-cancel": "a task can be cancelled at any time, even when it is done",
        "stuck": "a task never leaves pending",
        "free-of-charge": "the account is shown as if nothing had been spent",
        "unlisted": "the newest task is not in the history",
        "lost-upload": "the address of an uploaded file leads nowhere",
        "endless-stream": "a streamed completion ends without [DONE]",
    }
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The promises that the provider decides by; as they stand here, all of them are kept."""

    keys_are_checked: bool = True
    bodies_are_checked: bool = True
    tasks_are_found: bool = True
    tasks_start: bool = True
    charges: int = 1
    cancellable: frozenset[str] = frozenset({"pending"})
    streams_end: bool = True


def rules(defects: frozenset[str]) -> Rules:
    """The promises, less those that the defects break."""
    every_status = frozenset({"pending", "processing", "completed", "failed", "cancelled"})
    return Rules(
        keys_are_checked="no-auth" not in defects,
        bodies_are_checked="accepts-anything" not in defects,
        tasks_are_found="lost-task" not in defects,
        tasks_start="stuck" not in defects,
        charges=2 if "double-charge" in defects else 1,
        cancellable=every_status if "late-cancel" in defects else Rules().cancellable,
        streams_end="endless-stream" not in defects,
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out: an HTTP status and a body of a media type."""

    status: int
    content: str
    media_type: str = "application/json"


def answer(defects: frozenset[str], operation: str | None, status: int, body: dict[str, Any]) -> Answer:
    """The answer of an operation (None: of no operation), with the defects that concern answers."""
    if "undocumented-crash" in defects and operation == "get_task":
        return Answer(500, "<html><body><h1>Internal Server Error</h1></body></html>", "text/html")
    if "bare-error" in defects and status >= 400:
        return Answer(status, str(body.get("message") or body["error"]["message"]), "text/plain")
    for name in sorted(defects & _SPOILED.keys()):
        _SPOILED[name](operation, body)
    return Answer(status, json.dumps(body, ensure_ascii=False, allow_nan=False))


def _number_the_status(_operation: str | None, body: dict[str, Any]) -> None:
    if task := _task(body):
        task["status"] = 1


def _drop_the_id(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "create_task" and (task := _task(body)):
        del task["task_id"]


def _write_the_code(_operation: str | None, body: dict[str, Any]) -> None:
    if "code" in body:
        body["code"] = str(body["code"])


def _empty_the_output(_operation: str | None, body: dict[str, Any]) -> None:
    task = _task(body)
    if task and task.get("output"):
        task["output"] = {}


def _forget_the_spending(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "get_account_info" and (account := body.get("data")):
        account["equivalent_in_usd"] = account["credit_pack_info"]["total_credits"] / 1e7


def _drop_the_newest(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "list_task_history" and (page := body.get("data")) and page["page"] == 1:
        page["data"] = page["data"][1:]


def _lose_the_file(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "upload_file" and (file := body.get("data")):
        file["url"] += "x"


def _task(body: dict[str, Any]) -> dict[str, Any] | None:
    """The task in an answer, if that is what it carries."""
    data: Any = body.get("data")
    return cast("dict[str, Any]", data) if isinstance(data, dict) and "task_id" in data else None


_SPOILED: dict[str, Callable[[str | None, dict[str, Any]], None]] = {
    "status-number": _number_the_status,
    "missing-id": _drop_the_id,
    "code-as-text": _write_the_code,
    "output-missing": _empty_the_output,
    "free-of-charge": _forget_the_spending,
    "unlisted": _drop_the_newest,
    "lost-upload": _lose_the_file,
}
