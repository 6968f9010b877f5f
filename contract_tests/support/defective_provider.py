"""Sandboxes with planted defects: each breaks one promise of the provider, to prove that a contract check finds it.

`defective("no-auth")` returns a drop-in replacement of `unitask_sandbox.create_app`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from unitask_api import contract
from unitask_sandbox import Settings, create_app

from .defect_middleware import Answered, Asked, Defect, Json, Perform, Post, page, with_defects, with_header
from .defects_inside import (
    active,
    charging_twice,
    idle_cancel,
    idle_cancel_many,
    ignoring,
    keeping_money,
    late_cancel,
    open_accounts,
    replaced,
)


def defective(*names: str) -> Callable[[Settings], Starlette]:
    return partial(with_defects, [DEFECTS[name] for name in names]) if names else create_app


# Bodies of answers and webhooks.


def _task(body: Json) -> Json:
    data = body.get("data")
    found: Json = data if isinstance(data, dict) and "meta" in data else {"meta": {"usage": {}}}
    return found


def _of(name: str, change: Callable[[Json], object]) -> Callable[[str | None, Json], object]:
    def body(operation: str | None, body: Json) -> None:
        if operation == name and body.get("data"):
            change(body["data"])

    return body


def _of_task(change: Callable[[Json], object], status: str | None = None) -> Callable[[str | None, Json], object]:
    def body(_operation: str | None, body: Json) -> None:
        task = _task(body)
        if "task_id" in task and status in (None, task["status"]):
            change(task)

    return body


def _of_output(change: Callable[[Json], object]) -> Callable[[str | None, Json], object]:
    return _of_task(lambda task: change(task["output"]) if task.get("output") else None)


def _lost(ending: str) -> Callable[[Json], None]:
    def change(output: Json) -> None:
        output |= {name: f"{url}x" for name, url in output.items() if isinstance(url, str) and url.endswith(ending)}

    return change


def _code_as_text(_operation: str | None, body: Json) -> None:
    if "code" in body:
        body["code"] = str(body["code"])


def _missing_id(operation: str | None, body: Json) -> None:
    if operation == "create_task":
        _task(body).pop("task_id", None)


def _unlisted(page: Json) -> None:
    if page["page"] == 1:
        page["data"] = page["data"][1:]


def _bare_lack_of_credit(operation: str | None, body: Json) -> None:
    if operation == "create_task" and body["code"] == 500:
        body["data"] = None


def _exchanged(task: Json) -> None:
    if task["meta"]["usage"]["type"] == "point":
        task["error"] = {**task["error"], "code": 10000, "message": "auto exchange point quota"}


def _in_words(output: Json) -> None:
    if "image_base64" in output:
        output |= {"image_url": None, "image_base64": "iVBORw0KGgo="}


def _balance_less(times_spent: int) -> Callable[[Json], None]:
    def change(account: Json) -> None:
        pack = account["credit_pack_info"]
        spent = pack["total_credits"] - pack["available_credits"]
        account["equivalent_in_usd"] = (pack["total_credits"] - times_spent * spent) / 1e7

    return change


def _rows(change: Callable[[list[Json]], list[Json]]) -> Callable[[str | None, Json], object]:
    return _of("list_task_history", lambda page: page.update(data=change(page["data"])))


def _chat(operation: str | None, body: Json) -> None:
    for choice in body.get("choices", []) if operation == "create_chat_completion" else []:
        choice["message"]["content"] = ""


def _no_picture(operation: str | None, body: Json) -> None:
    if operation == "create_image" and "data" in body:
        body["data"] = []


def _broken_picture(operation: str | None, body: Json) -> None:
    for picture in body.get("data", []) if operation == "create_image" else []:
        picture["b64_json"] = "bm8gcGljdHVyZQ=="


def _silent_cancel(operation: str | None, body: Json) -> None:
    if operation == "cancel_task" and body["code"] == 200:
        body["message"] = None


NO_ERROR = {"code": 0, "raw_message": "", "message": "", "detail": None}
NO_CONFIG = {"service_mode": "", "webhook_config": {"endpoint": "", "secret": ""}}

# Refusals.


def _with_code(status: int) -> Callable[[str | None, int, Json], int]:
    def refusal(_operation: str | None, _status: int, body: Json) -> int:
        body["code"] = status
        return status

    return refusal


def _saying(**words: Any) -> Callable[[str | None, int, Json], int]:
    def refusal(_operation: str | None, status: int, body: Json) -> int:
        body |= words
        return status

    return refusal


def _timeless_cancel(operation: str | None, status: int, body: Json) -> int:
    if (operation, status) != ("cancel_tasks", 400):
        return status
    body |= {"code": 200, "message": "success"}
    return 200


# Exchanges.


async def _crash_on_get(asked: Asked, perform: Perform) -> Answered:
    answer = await perform(asked)
    return CRASH if asked.operation == "get_task" else answer


async def _crash_on_emoji(asked: Asked, perform: Perform) -> Answered:
    answer = await perform(asked)
    return CRASH if asked.operation == "create_chat_completion" and max(answer.body.decode()) > "\uffff" else answer


async def _bare_error(asked: Asked, perform: Perform) -> Answered:
    answer = await perform(asked)
    if answer.status < 400:
        return answer
    body = json.loads(answer.body)
    return page(answer.status, body.get("message") or body["error"]["message"], "text/plain")


def _overlooking(words: str) -> Callable[[Asked, Perform], Awaitable[Answered]]:
    async def exchange(asked: Asked, perform: Perform) -> Answered:
        answer = await perform(asked)
        if asked.operation != "create_task" or answer.status != 400 or words not in answer.body.decode():
            return answer
        swap = contract.document()["components"]["examples"]["faceswap.face-swap.request"]["value"]
        return await perform(replace(asked, body=json.dumps(swap).encode()))

    return exchange


async def _withdrawn(asked: Asked, perform: Perform) -> Answered:
    other = asked.body.replace(b'"hailuo"', b'"withdrawn"') if asked.operation == "create_task" else asked.body
    return await perform(replace(asked, body=other))


async def _endless_stream(asked: Asked, perform: Perform) -> Answered:
    answer = await perform(asked)
    return replace(answer, body=answer.body.replace(b"data: [DONE]\n\n", b""))


async def _lost_task(asked: Asked, perform: Perform) -> Answered:
    if asked.operation in ("get_task", "cancel_task"):
        path = "/api/v1/task/00000000-0000-0000-0000-000000000000"
        asked = replace(asked, scope={**asked.scope, "path": path, "raw_path": quote(path).encode()})
    return await perform(asked)


async def _locked_files(asked: Asked, perform: Perform) -> Answered:
    if asked.scope["path"].startswith("/files/"):
        return page(401, '{"code": 401, "message": "failed to verify api key", "data": null}', "application/json")
    return await perform(asked)


async def _file_as_page(asked: Asked, perform: Perform) -> Answered:
    answer = await perform(asked)
    return with_header(answer, "content-type", "text/html") if asked.scope["path"].startswith("/files/") else answer


def _upload(change: Callable[[Json], Json]) -> Callable[[Asked, Perform], Awaitable[Answered]]:
    async def exchange(asked: Asked, perform: Perform) -> Answered:
        try:
            body = json.loads(asked.body) if asked.operation == "upload_file" else None
            changed = json.dumps(change(body)).encode() if isinstance(body, dict) else asked.body
        except (ValueError, TypeError, KeyError):
            changed = asked.body
        return await perform(replace(asked, body=changed))

    return exchange


def _without_last_byte(upload: Json) -> Json:
    head, comma, data = upload["file_data"].rpartition(",")
    return {**upload, "file_data": head + comma + base64.b64encode(base64.b64decode(data)[:-1]).decode()}


CRASH = page(500, "<html><body><h1>Internal Server Error</h1></body></html>")

# Webhooks.


def _without_secret(post: Post, url: str, body: bytes, headers: dict[str, str]) -> int:
    return post(url, body, {name: value for name, value in headers.items() if name != "x-webhook-secret"})


def _too_soon(post: Post, url: str, body: bytes, headers: dict[str, str]) -> int:
    told = json.loads(body)
    told["data"] |= {"status": "processing", "output": None}
    return post(url, json.dumps(told).encode(), headers)


def _at_the_root(post: Post, url: str, body: bytes, headers: dict[str, str]) -> int:
    return post(url, json.dumps(json.loads(body)["data"]).encode(), headers)


def _unsent(_post: Post, _url: str, _body: bytes, _headers: dict[str, str]) -> int:
    return 200


def _once(post: Post, url: str, body: bytes, headers: dict[str, str]) -> int:
    with suppress(OSError):
        post(url, body, headers)
    return 200


def _again(post: Post, url: str, body: bytes, headers: dict[str, str]) -> int:
    post(url, body, headers)
    return 500


ACTIVE = {"staged", "pending", "processing"}
DEFECTS: Mapping[str, Defect] = {
    "no-auth": Defect(
        "any key is accepted, and none too", "keys", inside=replaced("", "_is_known", lambda _: lambda _key: True)
    ),
    "status-number": Defect(
        "the status of a task is sent as a number", "cancel", body=_of_task(lambda task: task.update(status=1))
    ),
    "missing-id": Defect("a create answers without task_id", "echo", body=_missing_id),
    "accepts-anything": Defect(
        "an invalid create is accepted as if it were the documented face swap",
        "bad_requests",
        exchange=_overlooking(""),
    ),
    "lost-task": Defect("a created task is not found", "face_swap", exchange=_lost_task),
    "bare-error": Defect("a refusal is plain text instead of the envelope", "every_sequence", exchange=_bare_error),
    "undocumented-crash": Defect(
        "a poll of a task answers HTTP 500 with an HTML page", "face_swap", exchange=_crash_on_get
    ),
    "code-as-text": Defect("code is sent as text", "every_answer", body=_code_as_text),
    "output-missing": Defect("a completed task has an empty output", "face_swap", body=_of_output(dict.clear)),
    "double-charge": Defect("a create is charged twice", "face_swap", inside=charging_twice(lambda _: True)),
    "late-cancel": Defect(
        "a task can be cancelled at any time, even when it is done",
        "cancel",
        inside=replaced("_store", "end", late_cancel),
    ),
    "stuck": Defect(
        "a task never leaves pending", "face_swap", inside=replaced("", "advance", lambda _: lambda: False)
    ),
    "free-of-charge": Defect(
        "the account is shown as if nothing had been spent", "account", body=_of("get_account_info", _balance_less(0))
    ),
    "unlisted": Defect("the newest task is not in the history", "history", body=_of("list_task_history", _unlisted)),
    "lost-upload": Defect(
        "the address of an uploaded file leads nowhere",
        "upload",
        body=_of("upload_file", lambda file: file.update(url=f"{file['url']}x")),
    ),
    "endless-stream": Defect("a streamed completion ends without [DONE]", "chat", exchange=_endless_stream),
    "open-accounts": Defect("a task is shown to any key", "accounts_are_apart", inside=open_accounts),
    "wrong-model": Defect(
        "a task is shown with another model",
        "echo",
        body=_of_task(
            lambda task: task.update(model="hailuo" if "toolkit" in task["model"] else "Qubico/image-toolkit")
        ),
    ),
    "other-task": Defect(
        "a poll answers with the id of another task",
        "echo",
        body=_of("get_task", lambda task: task.update(task_id=task["task_id"][::-1])),
    ),
    "config-lost": Defect(
        "the config of a create is not echoed", "echo", body=_of_task(lambda task: task.update(config=NO_CONFIG))
    ),
    "times-reversed": Defect(
        "a task has ended before it was created",
        "face_swap",
        body=_of_task(lambda task: task["meta"].update(ended_at="2020-01-01T00:00:00Z"), "completed"),
    ),
    "error-on-success": Defect(
        "a completed task has an error",
        "end",
        body=_of_task(lambda task: task.update(error={**task["error"], "code": 10000}), "completed"),
    ),
    "reason-hidden": Defect(
        "the error of a failed task says that there is none",
        "no_face",
        body=_of_task(lambda task: task.update(error=NO_ERROR), "failed"),
    ),
    "lost-output": Defect("the address of an output leads nowhere", "end", body=_of_output(_lost(""))),
    "file-as-page": Defect("a file is served as an HTML page", "face_swap", exchange=_file_as_page),
    "locked-files": Defect("a file is served to nobody", "end", exchange=_locked_files),
    "bill-hidden": Defect(
        "a completed task shows no bill",
        "face_swap",
        body=_of_task(lambda task: task["meta"]["usage"].update(consume=0)),
    ),
    "kept-after-cancel": Defect(
        "a cancelled task is not paid back", "cancelled_is_paid_back", inside=keeping_money("cancelled")
    ),
    "kept-after-failure": Defect("a failed task is not paid back", "no_face", inside=keeping_money("failed")),
    "bare-lack-of-credit": Defect(
        "a refusal for lack of credit has no task in it", "lack_of_credit", body=_bare_lack_of_credit
    ),
    "refused-with-200": Defect(
        "a refusal is sent with HTTP 200", "bad_requests", refusal=lambda _operation, _status, _body: 200
    ),
    "refused-with-500": Defect("every refusal is sent with HTTP 500", "bad_requests", refusal=_with_code(500)),
    "code-of-its-own": Defect("the code of a refusal is not its HTTP status", "refusals", refusal=_saying(code=10000)),
    "silent-refusal": Defect("a refusal has an empty message", "refusals", refusal=_saying(message="")),
    "idle-cancel": Defect(
        "a cancel is answered as done, and nothing is done", "cancel", inside=replaced("_store", "end", idle_cancel)
    ),
    "idle-cancel-many": Defect(
        "cancelling many is answered as done, and nothing is done",
        "cancel_many",
        inside=replaced("", "cancel_many", idle_cancel_many),
    ),
    "cancel-any-model": Defect(
        "cancelling many ignores the model",
        "cancel_many",
        inside=replaced("", "cancel_many", lambda cancel: lambda key, before, _model=None: cancel(key, before)),
    ),
    "cancel-any-time": Defect(
        "cancelling many ignores the time",
        "cancel_many",
        inside=replaced(
            "", "cancel_many", lambda cancel: lambda key, _before, model=None: cancel(key, math.inf, model)
        ),
    ),
    "oldest-first": Defect(
        "a page of the history begins with the oldest task", "history", body=_rows(lambda rows: rows[::-1])
    ),
    "same-page": Defect("every page of the history is the first", "history", inside=ignoring("page")),
    "any-size": Defect("a page of the history has ten rows, whatever is asked", "pages", inside=ignoring("page_size")),
    "any-time": Defect("the history ignores the time", "history", inside=ignoring("start_time", "end_time")),
    "any-group": Defect("the history ignores the model", "groups", inside=ignoring("model")),
    "total-of-the-page": Defect(
        "the history says that it has as many rows as the page",
        "pages",
        body=_of("list_task_history", lambda page: page.update(total=len(page["data"]))),
    ),
    "row-without-bill": Defect(
        "a row of the history has no usage", "rows", body=_rows(lambda rows: [{**row, "usage": 0} for row in rows])
    ),
    "never-active": Defect("the list of active tasks is empty", "tasks_in_hand", inside=active(set())),
    "ever-active": Defect(
        "a task that has ended is in the list of active tasks",
        "tasks_in_hand",
        inside=active({*ACTIVE, "completed", "cancelled"}),
    ),
    "any-upload": Defect(
        "a file of a kind that is not allowed can be uploaded",
        "bad_requests",
        exchange=_upload(lambda upload: {**upload, "file_name": "any.png"}),
    ),
    "shortened-upload": Defect("an uploaded file lacks its last byte", "upload", exchange=_upload(_without_last_byte)),
    "wordless-chat": Defect("a completion is empty", "chat", body=_chat),
    "no-picture": Defect("an image request is answered without a picture", "images", body=_no_picture),
    "broken-picture": Defect("the picture of an image request is none", "images", body=_broken_picture),
    "webhook-unsent": Defect("no webhook is sent", "webhook", webhook=_unsent),
    "webhook-without-secret": Defect("a webhook lacks the secret", "webhook", webhook=_without_secret),
    "webhook-at-the-root": Defect("the task is at the root of a webhook", "webhook", webhook=_at_the_root),
    "webhook-too-soon": Defect("a webhook shows the task as it was before its end", "webhook", webhook=_too_soon),
    "webhook-once": Defect("a webhook that was refused is not sent again", "webhook_that_is_not_taken", webhook=_once),
    "webhook-again": Defect("a webhook that was accepted is sent again", "webhook", webhook=_again),
    "prompt-not-needed": Defect(
        "a create that lacks its prompt is accepted as if it were the documented face swap",
        "refused FluxSchnellTxt2Img",
        exchange=_overlooking("'prompt' is a required property of input"),
    ),
    "old-names": Defect(
        "a task type is shown by its name before the unified API, with underscores",
        "echoed FaceSwap",
        body=_of_task(lambda task: task.update(task_type=task["task_type"].replace("-", "_"))),
    ),
    "double-points": Defect(
        "a task that is paid in points takes them twice",
        "charged HailuoVideo",
        inside=charging_twice(lambda task: task.usage_type == "point"),
    ),
    "points-unlisted": Defect(
        "what is paid in points is not in the history",
        "listed HailuoVideo",
        body=_rows(lambda rows: [row for row in rows if row["usage_type"] != "point"]),
    ),
    "points-exchanged": Defect(
        "a completed task that is paid in points has an error: they were exchanged",
        "ended HailuoVideo",
        body=_of_task(_exchanged, "completed"),
    ),
    "lost-film": Defect("the address of a film leads nowhere", "output HailuoVideo", body=_of_output(_lost(".mp4"))),
    "picture-in-words": Defect(
        "an output that may hold a picture as base64 has no address of it", "end", body=_of_output(_in_words)
    ),
    "hidden-fee": Defect(
        "the account pays twice what its tasks show", "account", body=_of("get_account_info", _balance_less(2))
    ),
    "timeless-cancel": Defect(
        "cancelling many without a time is answered as done", "bad_requests", refusal=_timeless_cancel
    ),
    "silent-cancel": Defect("the message of a successful cancel is null", "every_sequence", body=_silent_cancel),
    "withdrawn": Defect(
        "a task type of the catalogue (Hailuo) is refused as if there were none",
        "accepted HailuoVideo",
        exchange=_withdrawn,
    ),
    "emoji-crash": Defect(
        "a chat with a character outside the BMP is answered with HTTP 500 and an HTML page",
        "every_answer",
        exchange=_crash_on_emoji,
    ),
}
