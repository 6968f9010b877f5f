"""Planted bugs: each breaks one promise of the provider, so that a contract check can be seen to find it.

A defect is switched on by name in `Settings.defects`. Rules of this file: what a defect does is written here, at one of
three seams, and the honest code names no defect. `Rules` is read where the provider decides; `answer` is where every
answer goes out, `notification` where every webhook does (defects_of_answers.py has what most of them do to a body).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from unitask_sandbox.defects_of_answers import SPOILED, SPOILED_REFUSALS

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
        "open-accounts": "a task is shown to any key",
        "wrong-model": "a task is shown with another model",
        "other-task": "a look answers with the id of another task",
        "config-lost": "the config of a create is not echoed",
        "times-reversed": "a task has ended before it was created",
        "error-on-success": "a completed task has an error",
        "reason-hidden": "the error of a failed task says that there is none",
        "lost-output": "the address of an output leads nowhere",
        "file-as-page": "a file is served as an HTML page",
        "locked-files": "a file is served to nobody",
        "bill-hidden": "a completed task shows no bill",
        "kept-after-cancel": "a cancelled task is not paid back",
        "kept-after-failure": "a failed task is not paid back",
        "bare-lack-of-credit": "a refusal for lack of credit has no task in it",
        "refused-with-200": "a refusal is sent with HTTP 200",
        "refused-with-500": "every refusal is sent with HTTP 500",
        "code-of-its-own": "the code of a refusal is not its HTTP status",
        "silent-refusal": "a refusal has no words",
        "idle-cancel": "a cancel is answered as done, and nothing is done",
        "idle-cancel-many": "cancelling many is answered as done, and nothing is done",
        "cancel-any-model": "cancelling many does not heed the model",
        "cancel-any-time": "cancelling many does not heed the time",
        "oldest-first": "a page of the history begins with the oldest task",
        "same-page": "every page of the history is the first",
        "any-size": "a page of the history has ten rows, whatever is asked",
        "any-time": "the history does not heed the time",
        "any-group": "the history does not heed the model",
        "total-of-the-page": "the history says that it has as many rows as the page",
        "row-without-bill": "a row of the history has no usage",
        "never-active": "no task is among those in hand",
        "ever-active": "a task that has ended is among those in hand",
        "any-upload": "a file of a kind that is not allowed can be uploaded",
        "shortened-upload": "an uploaded file lacks its last byte",
        "wordless-chat": "a completion has no words",
        "no-picture": "an image request is answered without a picture",
        "broken-picture": "the picture of an image request is none",
        "webhook-unsent": "no webhook is sent",
        "webhook-without-secret": "a webhook does not have the secret",
        "webhook-at-the-root": "the task is at the root of a webhook",
        "webhook-too-soon": "a webhook shows the task as it was before its end",
        "webhook-once": "a webhook that was not taken is not sent again",
        "webhook-again": "a webhook that was taken is sent again",
        "prompt-not-needed": "a create that lacks its prompt is accepted as if it were the documented face swap",
        "old-names": "a task type is shown by its name before the unified API, with underscores",
        "double-points": "a task that is paid in points takes them twice",
        "points-unlisted": "what is paid in points is not in the history",
        "points-exchanged": "a completed task that is paid in points has an error: they were exchanged",
        "lost-film": "the address of a film leads nowhere",
        "picture-in-words": "an output that may hold a picture as base64 has no address of it",
        "hidden-fee": "the account pays twice what its tasks show",
        "timeless-cancel": "cancelling many without a time is answered as done",
        "silent-cancel": "a cancel is answered without words: its message is null",
        "withdrawn": "a task type of the catalogue (Hailuo) is refused as if there were none",
        "emoji-crash": "a chat with a character outside the BMP is answered with HTTP 500 and an HTML page",
    }
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The promises that the provider decides by; as they stand here, all of them are kept."""

    keys_are_checked: bool = True
    overlooks: str | None = None
    """Words of refusals of a create that are not made; the documented face swap is created instead."""
    withdrawn: str | None = None
    """A model of the catalogue that is refused as unknown."""
    tasks_are_found: bool = True
    tasks_start: bool = True
    charges: int = 1
    point_charges: int = 1
    cancellable: frozenset[str] = frozenset({"pending"})
    streams_end: bool = True
    accounts_are_apart: bool = True
    files_are_open: bool = True
    file_type: str | None = None
    pays_back_cancelled: bool = True
    pays_back_failed: bool = True
    cancels: bool = True
    cancels_many: bool = True
    cancel_heeds: frozenset[str] = frozenset({"model", "created_before"})
    history_heeds: frozenset[str] = frozenset({"page", "page_size", "model", "time"})
    active: frozenset[str] = frozenset({"staged", "pending", "processing"})
    uploads_are_checked: bool = True
    upload_loses: int = 0
    webhook_attempts: int = 3
    webhooks_are_taken: bool = True


_BROKEN: Mapping[str, Mapping[str, Any]] = {
    "no-auth": {"keys_are_checked": False},
    "accepts-anything": {"overlooks": ""},
    "lost-task": {"tasks_are_found": False},
    "stuck": {"tasks_start": False},
    "double-charge": {"charges": 2},
    "late-cancel": {"cancellable": frozenset({"pending", "processing", "completed", "failed", "cancelled"})},
    "endless-stream": {"streams_end": False},
    "open-accounts": {"accounts_are_apart": False},
    "locked-files": {"files_are_open": False},
    "file-as-page": {"file_type": "text/html"},
    "kept-after-cancel": {"pays_back_cancelled": False},
    "kept-after-failure": {"pays_back_failed": False},
    "idle-cancel": {"cancels": False},
    "idle-cancel-many": {"cancels_many": False},
    "cancel-any-model": {"cancel_heeds": frozenset({"created_before"})},
    "cancel-any-time": {"cancel_heeds": frozenset({"model"})},
    "same-page": {"history_heeds": frozenset({"page_size", "model", "time"})},
    "any-size": {"history_heeds": frozenset({"page", "model", "time"})},
    "any-time": {"history_heeds": frozenset({"page", "page_size", "model"})},
    "any-group": {"history_heeds": frozenset({"page", "page_size", "time"})},
    "never-active": {"active": frozenset[str]()},
    "ever-active": {"active": frozenset({"staged", "pending", "processing", "completed", "cancelled"})},
    "any-upload": {"uploads_are_checked": False},
    "shortened-upload": {"upload_loses": 1},
    "webhook-unsent": {"webhook_attempts": 0},
    "webhook-once": {"webhook_attempts": 1},
    "webhook-again": {"webhooks_are_taken": False},
    "prompt-not-needed": {"overlooks": "'prompt' is a required property of input"},
    "double-points": {"point_charges": 2},
    "withdrawn": {"withdrawn": "hailuo"},
}


@cache
def rules(defects: frozenset[str]) -> Rules:
    """The promises, less those that the defects break."""
    broken: dict[str, Any] = {}
    for name in sorted(defects & _BROKEN.keys()):
        broken |= _BROKEN[name]
    return Rules(**broken)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out: an HTTP status and a body of a media type."""

    status: int
    content: str
    media_type: str = "application/json"


_CRASH = Answer(500, "<html><body><h1>Internal Server Error</h1></body></html>", "text/html")


def answer(defects: frozenset[str], operation: str | None, status: int, body: dict[str, Any]) -> Answer:
    """The answer of an operation (None: of no operation), with the defects that concern answers."""
    if "undocumented-crash" in defects and operation == "get_task":
        return _CRASH
    if "bare-error" in defects and status >= 400:
        return Answer(status, str(body.get("message") or body["error"]["message"]), "text/plain")
    for name in sorted(defects & SPOILED.keys()):
        SPOILED[name](operation, body)
    if status >= 400:
        for name in sorted(defects & SPOILED_REFUSALS.keys()):
            status = SPOILED_REFUSALS[name](operation, status, body)
    content = json.dumps(body, ensure_ascii=False, allow_nan=False)
    if "emoji-crash" in defects and operation == "create_chat_completion" and max(content) > "\uffff":
        return _CRASH
    return Answer(status, content)


def notification(defects: frozenset[str], body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """The body of a webhook, which shows a task as the answers do; its headers are changed in place."""
    for name in sorted(defects & SPOILED.keys()):
        SPOILED[name](None, body)
    if "webhook-without-secret" in defects:
        headers.pop("x-webhook-secret", None)
    if "webhook-too-soon" in defects:
        body = {**body, "data": {**body["data"], "status": "processing", "output": None}}
    return body["data"] if "webhook-at-the-root" in defects else body
