"""Handlers of the operations of the spec, by operationId.

A handler passes what a request says to the provider, which decides, and wraps the result.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from unitask_api import contract

from unitask_sandbox import bundle, legacy
from unitask_sandbox.failures import Refusal
from unitask_sandbox.provider import Sandbox
from unitask_sandbox.task import file_url

KEY_HEADER = "x-api-key"
MOST_FIELDS = 100  # of a form


@dataclass(frozen=True, slots=True)
class Call:
    """A request for an operation."""

    operation: str
    key: str | None
    base_url: str  # what the addresses of files begin with
    task_id: str  # from the path; empty when there is none
    query: Mapping[str, str]
    body: bytes = b""
    form: Mapping[str, str] = field(default_factory=dict[str, str])  # a multipart body, in place of JSON


# returns a JSON body, the events of a stream, or an MP3
Handler = Callable[[Sandbox, Call], dict[str, Any] | Iterator[str] | bytes]


def sandbox_of(request: Request) -> Sandbox:
    """Return the provider that a request is for."""
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


def key_of(request: Request) -> str | None:
    """Return the API key of a request, from the header that its operation takes it from; None when there is none."""
    operation = contract.operations().get(request.scope.get("unitask.operation", ""))
    if operation is None or not operation.bearer:
        return request.headers.get(KEY_HEADER)
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def base_url_of(request: Request) -> str:
    """Return what the addresses of files in an answer begin with."""
    return sandbox_of(request).settings.public_url or str(request.base_url)


async def read_call(operation: str, request: Request) -> Call:
    """Read a request for an operation, with its body."""
    task_id: str = request.path_params.get("task_id", "")
    call = Call(operation, key_of(request), base_url_of(request), task_id, request.query_params)
    if operation == "edit_image":
        return replace(call, form=await _read_form(request))
    return replace(call, body=await request.body()) if request.method == "POST" else call


def _envelope(data: dict[str, Any]) -> dict[str, Any]:
    return {"code": 200, "data": data, "message": "success"}


def _cancel_task(sandbox: Sandbox, call: Call) -> dict[str, Any]:
    sandbox.cancel(call.key, call.task_id)
    return {"code": 200, "message": f"task {call.task_id} canceled"}


def _cancel_tasks(sandbox: Sandbox, call: Call) -> dict[str, Any]:
    query = bundle.query(call.operation, call.query)
    sandbox.cancel_many(call.key, query["created_before"], query.get("model"))
    return {"code": 200, "message": "success"}


def _make_image(sandbox: Sandbox, call: Call) -> dict[str, Any]:
    return sandbox.images(call.key, call.form if call.operation == "edit_image" else call.body, call.base_url)


def _get_legacy_task(sandbox: Sandbox, call: Call) -> dict[str, Any]:
    task_id = call.task_id or legacy.read(call.operation, call.body)["task_id"]
    keyless = call.key is None and contract.operations()[call.operation].keyless
    task = sandbox.get(call.key, task_id, legacy.POLLS[call.operation], keyless=keyless)
    return legacy.answer(task, call.base_url, sandbox.file)


def _create_legacy_task(sandbox: Sandbox, call: Call) -> dict[str, Any]:
    if call.operation in legacy.EXTENSIONS:
        sandbox.get(call.key, call.task_id, legacy.EXTENSIONS[call.operation])
    return legacy.accepted(sandbox.accept(call.key, call.body, call.base_url, call.operation, call.task_id))


HANDLERS: Mapping[str, Handler] = {
    "create_task": lambda sandbox, call: _envelope(
        sandbox.accept(call.key, call.body, call.base_url).body(call.base_url)
    ),
    "get_task": lambda sandbox, call: _envelope(sandbox.get(call.key, call.task_id).body(call.base_url)),
    "cancel_task": _cancel_task,
    "cancel_tasks": _cancel_tasks,
    "get_account_info": lambda sandbox, call: _envelope(sandbox.account_info(call.key)),
    "list_active_tasks": lambda sandbox, call: _envelope(sandbox.active_tasks(call.key)),
    "list_task_history": lambda sandbox, call: _envelope(
        sandbox.history(call.key, **bundle.query(call.operation, call.query))
    ),
    "upload_file": lambda sandbox, call: _envelope(
        {"url": file_url(call.base_url, sandbox.upload(call.key, call.body))}
    ),
    "upload_asset": lambda sandbox, call: {"asset_id": sandbox.upload_asset(call.key, call.body)},
    "list_assets": lambda sandbox, call: {"items": sandbox.assets(call.key)},
    "create_chat_completion": lambda sandbox, call: sandbox.chat(call.key, call.body, call.base_url),
    "list_models": lambda sandbox, call: sandbox.models(call.key),
    "create_speech": lambda sandbox, call: sandbox.speech(call.key, call.body),
    "create_image": _make_image,
    "edit_image": _make_image,
    **dict.fromkeys(legacy.CREATES, _create_legacy_task),
    **dict.fromkeys(legacy.POLLS, _get_legacy_task),
}


async def _read_form(request: Request) -> dict[str, str]:
    """Read a form; the content of its files is not stored."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal(400, "invalid request: the body is not a form: send multipart/form-data")
    async with request.form(max_files=MOST_FIELDS, max_fields=MOST_FIELDS) as form:
        return {name: value if isinstance(value, str) else "a file" for name, value in form.multi_items()}
