"""Handlers of the operations of the spec, by operationId.

A handler takes its values out of the request, calls the provider, and wraps the result. provider.py decides.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from unitask_api import contract

from unitask_sandbox import bundle, legacy
from unitask_sandbox.failures import Refusal
from unitask_sandbox.provider import Sandbox
from unitask_sandbox.task import file_url

KEY_HEADER = "x-api-key"
MOST_FIELDS = 100  # of a form

Handler = Callable[[Request], Awaitable[dict[str, Any] | Response]]


def sandbox_of(request: Request) -> Sandbox:
    """The provider that a request is for."""
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


def key_of(request: Request) -> str | None:
    """The API key of a request, from the header that its operation takes it from; None when there is none."""
    operation = contract.operations().get(operation_of(request))
    if operation is None or not operation.bearer:
        return request.headers.get(KEY_HEADER)
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def operation_of(request: Request) -> str:
    """The operation of the spec that a request asks for; empty when it is none."""
    name: str = request.scope.get("unitask.operation", "")
    return name


def base_url(request: Request) -> str:
    """What the addresses of files begin with."""
    return sandbox_of(request).settings.public_url or str(request.base_url)


async def _create_task(request: Request) -> dict[str, Any]:
    body = await read_body(request)
    task = await run_in_threadpool(sandbox_of(request).accept, key_of(request), body, base_url(request))
    return _envelope(task.body(base_url(request)))


async def _get_task(request: Request) -> dict[str, Any]:
    # Not in a thread: a look takes microseconds, and there it would wait behind creates.
    task = sandbox_of(request).get(key_of(request), request.path_params["task_id"])
    return _envelope(task.body(base_url(request)))


async def _cancel_task(request: Request) -> dict[str, Any]:
    task_id = request.path_params["task_id"]
    await run_in_threadpool(sandbox_of(request).cancel, key_of(request), task_id)
    return {"code": 200, "message": f"task {task_id} canceled"}


async def _cancel_tasks(request: Request) -> dict[str, Any]:
    def cancel() -> int:
        query = bundle.query("cancel_tasks", request.query_params)
        return sandbox_of(request).cancel_many(key_of(request), query["created_before"], query.get("model"))

    await run_in_threadpool(cancel)
    return {"code": 200, "message": "success"}


async def _get_account_info(request: Request) -> dict[str, Any]:
    return _envelope(await run_in_threadpool(sandbox_of(request).account_info, key_of(request)))


async def _list_active_tasks(request: Request) -> dict[str, Any]:
    return _envelope(await run_in_threadpool(sandbox_of(request).active_tasks, key_of(request)))


async def _list_task_history(request: Request) -> dict[str, Any]:
    def page() -> dict[str, Any]:
        return sandbox_of(request).history(key_of(request), **bundle.query("list_task_history", request.query_params))

    return _envelope(await run_in_threadpool(page))


async def _upload_file(request: Request) -> dict[str, Any]:
    body = await read_body(request)
    name = await run_in_threadpool(sandbox_of(request).upload, key_of(request), body)
    return _envelope({"url": file_url(base_url(request), name)})


async def _create_chat_completion(request: Request) -> dict[str, Any] | Response:
    chat, given = sandbox_of(request).chat, (key_of(request), await read_body(request), base_url(request))
    answer = await run_in_threadpool(chat, *given)
    return answer if isinstance(answer, dict) else StreamingResponse(answer, media_type="text/event-stream")


async def _create_image(request: Request) -> dict[str, Any]:
    given = key_of(request), await read_body(request), base_url(request)
    return await run_in_threadpool(sandbox_of(request).images, *given)


async def _edit_image(request: Request) -> dict[str, Any]:
    sandbox_of(request).authenticate(key_of(request))
    given = key_of(request), await _read_form(request), base_url(request)
    return await run_in_threadpool(sandbox_of(request).images, *given)


async def _create_legacy_task(request: Request) -> dict[str, Any]:
    given = key_of(request), await read_body(request), base_url(request), operation_of(request)
    return legacy.accepted(await run_in_threadpool(sandbox_of(request).accept, *given))


async def _get_legacy_task(request: Request) -> dict[str, Any]:
    operation, body, sandbox = operation_of(request), await read_body(request), sandbox_of(request)

    def look() -> dict[str, Any]:
        task_id = request.path_params.get("task_id")
        if task_id is None:
            sandbox.authenticate(key_of(request))  # a bad key is told so before a bad body
            task_id = legacy.read_look(operation, body)
        task = sandbox.get(key_of(request), task_id, legacy.LOOKS[operation])
        return legacy.answer(task, base_url(request), sandbox.file)

    return await run_in_threadpool(look)


HANDLERS: Mapping[str, Handler] = {
    "create_task": _create_task,
    "get_task": _get_task,
    "cancel_task": _cancel_task,
    "cancel_tasks": _cancel_tasks,
    "get_account_info": _get_account_info,
    "list_active_tasks": _list_active_tasks,
    "list_task_history": _list_task_history,
    "upload_file": _upload_file,
    "create_chat_completion": _create_chat_completion,
    "create_image": _create_image,
    "edit_image": _edit_image,
    **dict.fromkeys(legacy.CREATES, _create_legacy_task),
    **dict.fromkeys(legacy.LOOKS, _get_legacy_task),
}


def _envelope(data: dict[str, Any]) -> dict[str, Any]:
    return {"code": 200, "data": data, "message": "success"}


async def _read_form(request: Request) -> dict[str, str]:
    """Read a form; the content of its files is not kept."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal(400, "invalid request: the body is no form: send multipart/form-data")
    try:
        async with request.form(max_files=MOST_FIELDS, max_fields=MOST_FIELDS) as form:
            return {name: value if isinstance(value, str) else "a file" for name, value in form.multi_items()}
    except HTTPException as error:
        raise Refusal(400, f"invalid request: {error.detail.lower()}") from None
    except ClientDisconnect:
        raise Refusal(400, "the request ended early") from None


async def read_body(request: Request) -> bytes:
    """The body of a request."""
    chunks = bytearray()
    try:
        async for chunk in request.stream():
            chunks += chunk
    except ClientDisconnect:
        raise Refusal(400, "the request ended early") from None
    return bytes(chunks)
