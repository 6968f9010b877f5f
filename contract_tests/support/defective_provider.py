"""Sandboxes with planted defects: each breaks one promise of the provider, to prove that a contract check finds it.

`defective("no-auth")` returns a drop-in replacement of `unitask_sandbox.create_app`.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from unitask_api import contract
from unitask_sandbox import Settings, create_app

Json: TypeAlias = dict[str, Any]
Perform: TypeAlias = Callable[[httpx.Request], Awaitable[httpx.Response]]
Exchange: TypeAlias = Callable[[httpx.Request, Perform], Awaitable[httpx.Response]]
Change: TypeAlias = Callable[[str, Json, list[Json]], object]
Post: TypeAlias = Callable[[Json, dict[str, str]], int]


@dataclass(frozen=True)
class Defect:
    """A planted bug: a change of bodies, of whole exchanges, or of webhooks.

    `found_by` is the quickest check that finds it, and the task type if it is made for one. `body` gets the operation
    ("" for a webhook), the JSON body to change in place, and every task that was shown before.
    """

    found_by: str
    body: Change | None = None
    exchange: Exchange | None = None
    webhook: Callable[[Post, Json, dict[str, str]], int] | None = None


def defective(*names: str) -> Callable[[Settings], Starlette]:
    return partial(with_defects, [DEFECTS[name] for name in names])


def with_defects(planted: list[Defect], settings: Settings) -> Starlette:
    if settings.send_webhook:
        settings = replace(settings, send_webhook=partial(send_webhook, planted, settings.send_webhook))
    app = create_app(settings)
    app.add_middleware(Middleware, planted)
    return app


def send_webhook(planted: list[Defect], send: Any, url: str, content: bytes, headers: Mapping[str, str]) -> int:
    def post(body: Json, headers: dict[str, str]) -> int:
        status: int = send(url, json.dumps(body).encode(), headers)
        return status

    body = json.loads(content)
    for defect in planted:
        if defect.body:
            defect.body("", body, [])
        if defect.webhook:
            post = partial(defect.webhook, post)
    return post(body, dict(headers))


class Middleware:
    """Passes whole requests and answers through the defects."""

    def __init__(self, app: ASGIApp, planted: list[Defect]) -> None:
        self.app = app
        self.planted = planted
        self.shown: list[Json] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox"):
            await self.app(scope, receive, send)
            return

        async def provider(inner: Scope, receive: Receive, send: Send) -> None:
            changed = {name: inner[name] for name in ("headers", "path", "raw_path", "query_string")}
            await self.app({**scope, **changed}, receive, send)

        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        url = httpx.URL(scheme="http", host="sandbox.test", raw_path=target)
        request = httpx.Request(scope["method"], url, headers=scope["headers"])
        perform: Perform = httpx.ASGITransport(provider).handle_async_request
        for defect in self.planted:
            perform = partial(self.altered, defect, perform)
        answer = await perform(with_content(request, await Request(scope, receive).body()))
        content = await answer.aread()
        headers = with_content(answer, content).headers.raw
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def altered(self, defect: Defect, perform: Perform, request: httpx.Request) -> httpx.Response:
        answer = await (defect.exchange(request, perform) if defect.exchange else perform(request))
        body = read(await answer.aread())
        if not defect.body or not isinstance(body, dict):
            return answer
        task = json.loads(json.dumps(task_of(body)))
        defect.body(operation_of(request), body, self.shown)
        self.shown += [task] if "task_id" in task else []
        return with_content(answer, json.dumps(body).encode())


def read(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def operation_of(request: httpx.Request) -> str:
    try:
        return contract.match("GET" if request.method == "HEAD" else request.method, request.url.path)[0]
    except LookupError:
        return ""


def with_content(message: Any, content: bytes) -> Any:
    headers = httpx.Headers(message.headers)
    for name in ("content-length", "transfer-encoding"):
        headers.pop(name, None)
    if isinstance(message, httpx.Request):
        return httpx.Request(message.method, message.url, headers=headers, content=content)
    return httpx.Response(message.status_code, headers=headers, content=content)


def task_of(body: Json) -> Json:
    data = body.get("data")
    found: Json = data if isinstance(data, dict) and "meta" in data else {}
    return found


# Changes of a body.


def data_of(name: str, change: Callable[[Any], object]) -> Change:
    return data_and_shown(name, lambda data, _: change(data))


def data_and_shown(name: str, change: Callable[[Any, list[Json]], object]) -> Change:
    return lambda operation, body, shown: operation == name and body.get("data") and change(body["data"], shown)


def history(change: Callable[[Json], object]) -> Change:
    return data_of("list_task_history", change)


def rows(**changed: Any) -> Change:
    return history(lambda page: page.update(data=[{**row, **changed} for row in page["data"]]))


def task(change: Callable[[Json], object], status: str = "") -> Change:
    return task_and_shown(lambda it, _: status in ("", it["status"]) and change(it))


def task_and_shown(change: Callable[[Json, list[Json]], object]) -> Change:
    return lambda _, body, shown: "task_id" in task_of(body) and change(task_of(body), shown)


def output(change: Callable[[Json], object]) -> Change:
    return task(lambda it: it.get("output") and change(it["output"]))


def lost(output: Json) -> None:
    output |= {name: f"{url}x" for name, url in output.items() if isinstance(url, str)}


def exchanged_output(it: Json, shown: list[Json]) -> None:
    others = [one["output"] for one in shown if one["output"] and one["task_id"] != it["task_id"]]
    it["output"] = others[-1] if others and it["output"] else it["output"]


def foreign_input(it: Json, shown: list[Json]) -> None:
    others = [one["input"] for one in shown if one["input"] and one["task_id"] != it["task_id"]]
    it["input"] = others[-1] if others else it["input"]


def foreign_secret(it: Json, shown: list[Json]) -> None:
    for one in shown:
        if one["task_id"] != it["task_id"] and one["config"]["webhook_config"]["secret"]:
            it["config"]["webhook_config"]["secret"] = one["config"]["webhook_config"]["secret"]


def back_for_ever(it: Json, shown: list[Json]) -> None:
    polls = sum(one["task_id"] == it["task_id"] for one in shown)
    it.update(status="processing" if polls == 1 else "pending", output=None)


def going_back(it: Json, shown: list[Json]) -> None:
    polls = sum(one["task_id"] == it["task_id"] for one in shown)
    if 0 < polls < 4:
        it["status"] = ("pending", "processing", "pending")[polls - 1]


def charged(times: int, usage_type: str = "") -> Change:
    def change(it: Json) -> None:
        usage = it["meta"]["usage"]
        if usage_type in ("", usage["type"]):
            usage["consume"] *= times

    return task(change)


# Exchanges.


def answering(change: Callable[[str, httpx.Response], httpx.Response | None]) -> Exchange:
    """Replace the answers for which `change`, given the operation or the path of a file, returns another one."""

    async def exchange(request: httpx.Request, perform: Perform) -> httpx.Response:
        answer = await perform(request)
        await answer.aread()
        return change(operation_of(request) or request.url.path, answer) or answer

    return exchange


def replying(answer: httpx.Response, operation: str, content: bytes = b"") -> Exchange:
    """Answer requests of an operation that contain this, and do nothing else."""

    async def exchange(request: httpx.Request, perform: Perform) -> httpx.Response:
        is_meant = operation_of(request) == operation and content in request.content
        return answer if is_meant else await perform(request)

    return exchange


def asking(operation: str, **query: Any) -> Exchange:
    """Carry out an operation with another query; None leaves a parameter out."""

    async def exchange(request: httpx.Request, perform: Perform) -> httpx.Response:
        if operation_of(request) == operation:
            asked = {name: value for name, value in {**request.url.params, **query}.items() if value is not None}
            request = httpx.Request(request.method, request.url.copy_with(params=asked), headers=request.headers)
        return await perform(request)

    return exchange


def refusing(change: Callable[[int, Json], httpx.Response]) -> Exchange:
    def refusal(_operation: str, answer: httpx.Response) -> httpx.Response | None:
        body = read(answer.content) if answer.status_code >= 400 else None
        return change(answer.status_code, body) if isinstance(body, dict) else None

    return answering(refusal)


def saying(status: int = 0, **words: Any) -> Exchange:
    return refusing(lambda refused, body: httpx.Response(status or refused, json={**body, **words}))


def retyped(place: str, headers: dict[str, str]) -> Exchange:
    def change(name: str, answer: httpx.Response) -> httpx.Response | None:
        found = httpx.Response(answer.status_code, headers=headers, content=answer.content)
        return found if name.startswith(place) else None

    return answering(change)


def forget(operation: str, answer: httpx.Response) -> httpx.Response | None:
    it = task_of(read(answer.content)) if operation == "get_task" else {}
    if it.get("status") != "completed":
        return None
    was_shown = it["task_id"] in ENDED
    ENDED.add(it["task_id"])
    return httpx.Response(404, json={"code": 404, "message": "task not found", "data": None}) if was_shown else None


def with_the_key_after(status: int) -> Exchange:
    async def exchange(request: httpx.Request, perform: Perform) -> httpx.Response:
        answer = await perform(request)
        if answer.status_code != status:
            return answer
        headers = {**request.headers, "x-api-key": CHECKED_KEY}
        return await perform(httpx.Request(request.method, request.url, headers=headers, content=request.content))

    return exchange


# Webhooks.


def post_once(post: Post, body: Json, headers: dict[str, str]) -> int:
    with suppress(OSError):
        post(body, headers)
    return 200


DONE = httpx.Response(200, json={"code": 200, "message": "success", "data": None})
REFUSED = httpx.Response(400, json={"code": 400, "message": "invalid model", "data": None})
CRASH = httpx.Response(500, html="<html><body><h1>Internal Server Error</h1></body></html>")
CHECKED_KEY = "key-of-the-contract-checks"
NO_CONFIG = {"service_mode": "", "webhook_config": {"endpoint": "", "secret": ""}}
NO_ERROR = {"code": 0, "raw_message": "", "message": "", "detail": None}
NONE_ACTIVE = {"pending_count": 0, "processing_count": 0, "active_tasks": []}
UNDER_WAY = {"status": "processing", "output": None}
STREAM_END = b"data: [DONE]\n\n"
LONG_AGO = "2020-01-01T00:00:00Z"
ENDED: set[str] = set()  # ids of tasks
HTML = {"content-type": "text/html"}
NO_PROMPT = r"input: \"prompt\" is a required property"
DEFECTS: Mapping[str, Defect] = {
    # The task that is shown.
    "status-unknown": Defect("cancel", task(lambda it: it.update(status="baking"))),
    "missing-id": Defect("echo", data_of("create_task", lambda it: it.pop("task_id", None))),
    "output-missing": Defect("face_swap", output(dict.clear)),
    "wrong-model": Defect("echo", task(lambda it: it.update(model=it["model"][::-1]))),
    "other-task": Defect("echo", data_of("get_task", lambda it: it.update(task_id=it["task_id"][::-1]))),
    "config-lost": Defect("echo", task(lambda it: it.update(config=NO_CONFIG))),
    "config-of-another-task": Defect(
        "echo", task_and_shown(lambda it, shown: it.update(config=[*shown, it][0]["config"]))
    ),
    "input-of-another-task": Defect("echo", task_and_shown(foreign_input)),
    "secret-of-another-task": Defect("echo", task_and_shown(foreign_secret)),
    "output-of-another-task": Defect("own_output", task_and_shown(exchanged_output)),
    "old-names": Defect("echoed FaceSwap", task(lambda it: it.update(task_type=it["task_type"].replace("-", "_")))),
    "times-reversed": Defect("face_swap", task(lambda it: it["meta"].update(ended_at=LONG_AGO), "completed")),
    "error-on-success": Defect("ended FaceSwap", task(lambda it: it["error"].update(code=10000), "completed")),
    "reason-hidden": Defect("no_face", task(lambda it: it.update(error=NO_ERROR), "failed")),
    "going-back": Defect("cancel", task_and_shown(going_back)),
    "back-for-ever": Defect("face_swap", task_and_shown(back_for_ever)),
    "another-word-for-the-end": Defect("no_face", task(lambda it: it.update(status="rejected"), "failed")),
    "gone-after-its-end": Defect("cancel", exchange=answering(forget)),
    "stuck": Defect("face_swap", task(lambda it: it.update(UNDER_WAY))),
    # Files.
    "lost-output": Defect("own_output", output(lost)),
    "file-as-page": Defect("face_swap", exchange=retyped("/files/", HTML)),
    "shortened-upload": Defect(
        "upload",
        exchange=answering(
            lambda name, answer: with_content(answer, answer.content[:-1]) if name.startswith("/files/") else None
        ),
    ),
    # Submissions and refusals.
    "prompt-not-needed": Defect(
        "refused FluxSchnellTxt2Img", exchange=answering(lambda _, answer: DONE if NO_PROMPT in answer.text else None)
    ),
    "hailuo-withdrawn": Defect("accepted HailuoVideo", exchange=replying(REFUSED, "create_task", b'"hailuo"')),
    "bare-error": Defect(
        "every_sequence", exchange=refusing(lambda status, body: httpx.Response(status, text=str(body)))
    ),
    "bare-lack-of-credit": Defect(
        "lack_of_credit", lambda _operation, body, _: body.get("code") == 500 and body.update(data=None)
    ),
    "refused-with-200": Defect("bad_requests", exchange=saying(200)),
    "refused-with-500": Defect("bad_requests", exchange=saying(500, code=500)),
    "code-of-its-own": Defect("bad_requests", exchange=saying(code=10000)),
    "silent-refusal": Defect("bad_requests", exchange=saying(message="")),
    "code-as-text": Defect("every_answer", lambda _operation, body, _: body.update(code=str(body.get("code")))),
    "undocumented-crash": Defect("face_swap", exchange=replying(CRASH, "get_task")),
    "emoji-crash": Defect(
        "every_answer",
        exchange=answering(lambda _, answer: CRASH if max(answer.text, default="") >= "\U00010000" else None),
    ),
    # Keys and money.
    "no-auth": Defect("keys", exchange=with_the_key_after(401)),
    "open-accounts": Defect("accounts_are_apart", exchange=with_the_key_after(404)),
    "free-of-charge": Defect(
        "account", data_of("get_account_info", lambda account: account.update(equivalent_in_usd=1.0))
    ),
    "double-charge": Defect("face_swap", charged(2)),
    "double-points": Defect("charged HailuoVideo", charged(2, "point")),
    "kept-after-cancel": Defect(
        "cancelled_is_paid_back",
        data_and_shown("get_account_info", lambda account, shown: account.update(equivalent_in_usd=-len(shown))),
    ),
    "kept-after-failure": Defect("no_face", task(lambda it: it["meta"]["usage"].update(consume=7), "failed")),
    "answers-as-pages": Defect("account", exchange=retyped("", HTML)),
    "answers-without-type": Defect("account", exchange=retyped("", {})),
    # Cancelling.
    "late-cancel": Defect("cancel", exchange=answering(lambda name, _: DONE if name == "cancel_task" else None)),
    "idle-cancel": Defect("cancel", exchange=replying(DONE, "cancel_task")),
    "idle-cancel-many": Defect("cancel_many", exchange=replying(DONE, "cancel_tasks")),
    "cancel-any-model": Defect("cancel_many", exchange=asking("cancel_tasks", model="all")),
    "cancel-any-time": Defect("cancel_many", exchange=asking("cancel_tasks", created_before=2**40)),
    # The history and the list of active tasks.
    "unlisted": Defect("history", history(lambda page: page.update(data=page["data"][page["page"] == 1 :]))),
    "points-unlisted": Defect(
        "listed HailuoVideo",
        history(lambda page: page.update(data=[row for row in page["data"] if row["usage_type"] != "point"])),
    ),
    "oldest-first": Defect("history", history(lambda page: page["data"].reverse())),
    "row-without-bill": Defect("rows", rows(usage=0)),
    "row-in-processing": Defect("rows", rows(status="processing")),
    "same-page": Defect("history", exchange=asking("list_task_history", page=None)),
    "any-size": Defect("pages", exchange=asking("list_task_history", page_size=None)),
    "any-time": Defect("history", exchange=asking("list_task_history", start_time=None, end_time=None)),
    "any-group": Defect("groups", exchange=asking("list_task_history", model=None)),
    "total-of-the-page": Defect("pages", history(lambda page: page.update(total=len(page["data"])))),
    "never-active": Defect(
        "active_tasks", data_of("list_active_tasks", lambda groups: groups["flux"].update(NONE_ACTIVE))
    ),
    "ever-active": Defect(
        "active_tasks",
        data_and_shown("list_active_tasks", lambda groups, shown: groups["flux"].update(active_tasks=shown)),
    ),
    # Language models.
    "endless-stream": Defect(
        "chat", exchange=answering(lambda _, answer: with_content(answer, answer.content.replace(STREAM_END, b"")))
    ),
    "wordless-chat": Defect(
        "chat", lambda _operation, body, _: "choices" in body and body["choices"][0]["message"].update(content="")
    ),
    "no-picture": Defect("images", data_of("create_image", list.clear)),
    "broken-picture": Defect("images", data_of("create_image", lambda pictures: pictures[0].update(b64_json="bm8="))),
    # Webhooks.
    "webhook-unsent": Defect("webhook", webhook=lambda *_: 200),
    "webhook-without-secret": Defect("webhook", webhook=lambda post, body, _: post(body, {})),
    "webhook-at-the-root": Defect("webhook", webhook=lambda post, body, headers: post(body["data"], headers)),
    "webhook-too-soon": Defect(
        "webhook", webhook=lambda post, body, headers: post({**body, "data": {**body["data"], **UNDER_WAY}}, headers)
    ),
    "webhook-once": Defect("webhook_that_is_not_taken", webhook=post_once),
    "webhook-again": Defect("webhook", webhook=lambda post, body, headers: max(500, post(body, headers))),
}
