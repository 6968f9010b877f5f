"""The provider over HTTP: from a request to an operation of the spec, and from its outcome to an answer.

Routes come from the bundle, with one handler (operations.py) for each operation. This module decides nothing and gives
every refusal its form. It needs no lifespan and no lasting event loop, because the app also runs in-process.
"""

import logging
import mimetypes
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from unitask_api import contract

from unitask_sandbox import control, page, request_log
from unitask_sandbox.failures import Refusal
from unitask_sandbox.fault_injection import AnswerLost, injected
from unitask_sandbox.faults import FILE
from unitask_sandbox.middleware import SMALL_BODY, Guard
from unitask_sandbox.operations import HANDLERS, KEY_HEADER, base_url_of, key_of, read_call, sandbox_of
from unitask_sandbox.provider import Sandbox
from unitask_sandbox.request_log import Arrival, Body, Recorder, key_fingerprint
from unitask_sandbox.settings import Settings

_log = logging.getLogger("unitask_sandbox")

UPLOAD_PATH = "/api/ephemeral_resource"
LLM_PATHS = "/v1/"
EVENTS = "text/event-stream"
# A file that is opened in a browser runs nothing and reads nothing, whatever is in it.
FILE_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"

ABOUT = """\
This is the unitask sandbox: a local provider of the generation-task API of PiAPI and Qubico, with play money.
What is real and what is simulated: docs/local-provider.md. The spec is at /openapi.json, the requests that arrived are
at /_sandbox/arrivals, the named faults at /_sandbox/library. POST /_sandbox/reset begins anew.
"""


def create_app(settings: Settings | None = None) -> Starlette:
    """Return the sandbox as an ASGI application, with a provider of its own in `app.state.sandbox`.

    `app.state.sandbox.close()` stops its worker processes and removes its files; otherwise that is done when the
    program ends.
    """
    settings = settings or Settings()
    paths: dict[str, dict[str, str]] = {}
    for operation in contract.operations().values():
        paths.setdefault(operation.path, {})[operation.method] = operation.id
    app = Starlette(
        routes=[
            # one route for each path, so that a wrong method is answered with every right one in Allow
            *(Route(path, _dispatch(names), methods=list(names)) for path, names in paths.items()),
            Route("/files/{name:path}", _file),
            Route("/openapi.json", _openapi),
            *page.ROUTES,
            *control.ROUTES,
            Route("/", _about),
        ],
        middleware=[
            Middleware(_Logging),
            *_cross_origin(settings),
            Middleware(Guard, _refusal, settings.allowed_hosts, settings.allowed_origins, settings.public_url),
        ],
        exception_handlers=dict.fromkeys(
            (Refusal, HTTPException, ClientDisconnect, sqlite3.Error, OSError, Exception), _failed
        ),
    )
    app.router.redirect_slashes = False  # a path that is not in the spec is 404
    app.state.sandbox = Sandbox(settings)
    return app


def _cross_origin(settings: Settings) -> list[Middleware]:
    """Let pages of the allowed origins send requests and read the answers; without any, no header is sent."""
    if not settings.allowed_origins:
        return []
    methods = sorted({operation.method for operation in contract.operations().values()})
    allowed = [KEY_HEADER, "authorization", "content-type"]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=methods,
            allow_headers=allowed,
            expose_headers=["retry-after"],
        )
    ]


def _dispatch(names: Mapping[str, str]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        name = names["GET" if request.method == "HEAD" else request.method]
        request.scope["unitask.operation"] = name
        return await _injected(name, request, lambda: _perform(name, request))

    return endpoint


async def _injected(name: str, request: Request, perform: Callable[[], Awaitable[Response]]) -> Response:
    sandbox = sandbox_of(request)
    fault = sandbox.faults.take(name, key_fingerprint(key_of(request)), request.path_params.get("task_id"))
    return await injected(fault, perform, sandbox.settings.sleep) if fault else await perform()


async def _perform(name: str, request: Request) -> Response:
    sandbox = sandbox_of(request)
    try:
        key = key_of(request)
        if key is not None or not contract.operations()[name].keyless:
            sandbox.admit(key)
        call = await read_call(name, request)
        if name == "get_task":  # reading takes microseconds; in a thread it would wait behind submissions
            result = HANDLERS[name](sandbox, call)
        else:
            result = await run_in_threadpool(HANDLERS[name], sandbox, call)
    except Refusal as refusal:
        return _refusal(request, refusal)
    if isinstance(result, bytes):
        return Response(result, media_type="audio/mpeg")
    return JSONResponse(result) if isinstance(result, dict) else StreamingResponse(result, media_type=EVENTS)


def _refusal(request: Request, refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response:
    path = request.url.path
    body: dict[str, Any] = {"code": refusal.status, "message": refusal.message}
    if path.startswith(LLM_PATHS):  # the form of OpenAI
        body = {"error": {"message": refusal.message, "type": "invalid_request_error", "param": None, "code": None}}
    elif path != UPLOAD_PATH:  # the service for uploads leaves data out
        body["data"] = refusal.task and refusal.task.body(base_url_of(request))
    if refusal.retry_after is not None:
        headers = {**(headers or {}), "retry-after": str(refusal.retry_after)}
    return JSONResponse(body, refusal.status, headers)


async def _failed(request: Request, error: Exception) -> Response:
    """Answer an exception; Starlette raises again what is a bug of the sandbox, so that it is seen."""
    match error:
        case Refusal():
            return _refusal(request, error)
        case HTTPException():
            return _refusal(request, Refusal(error.status_code, error.detail.lower()), error.headers)
        case ClientDisconnect():
            return _refusal(request, Refusal(400, "the request ended early"))
        case sqlite3.Error() | OSError():
            _log.error("%s %s was not carried out: %s", request.method, request.url.path[: request_log.NOTED], error)
            reason = getattr(error, "strerror", None) or error  # without the path of a file
            words = f"the sandbox cannot use its disk: {reason}; the request was not carried out, send it again later"
            return _refusal(request, Refusal(503, words))
        case _:
            return _refusal(request, Refusal(500, "internal error"))


@cache
def _roots() -> frozenset[str]:
    """The first parts of the paths of the spec: a misspelt path below them is logged, too."""
    return frozenset(operation.path.split("/")[1] for operation in contract.operations().values())


class _Logging:
    """Logs every request to the API, and its answer, before the end of the answer is sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].partition("/")[2].partition("/")[0] not in _roots():
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            await exchange.log(None if isinstance(error, AnswerLost) else 500)
            raise
        finally:
            await exchange.log(None)


class _Exchange:
    """One request and its answer, on their way into the log."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._sandbox: Sandbox = scope["app"].state.sandbox
        self._arrived, self._headers = self._sandbox.clock(), Headers(scope=scope)
        self._request, self._response, self._kind = Recorder(), Recorder(), ""
        self._entry: Arrival | None = None
        bearer = self._headers.get("authorization", "").rpartition(" ")[2]
        keys = (*self._sandbox.settings.keys, bearer, self._headers.get(KEY_HEADER, ""))
        secrets = {key for key in keys if len(key) >= request_log.SHORTEST_SECRET}
        self._secrets = sorted(secrets, key=len, reverse=True)  # one may be part of another one

    async def receive(self) -> Message:
        """Return the next piece of the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._request.add(message.get("body", b""), more=message.get("more_body", False))
        return message

    async def send(self, message: Message) -> None:
        """Send the next piece of the answer."""
        if message["type"] == "http.response.start":
            self._kind = Headers(raw=message["headers"]).get("content-type", "")
            await self.log(message["status"])
        elif message["type"] == "http.response.body":
            self._response.add(message.get("body", b""), more=message.get("more_body", False))
            if self._entry and self._response.has_ended:
                self._entry.response = await self._body(self._response, self._kind)
        await self._send(message)

    async def log(self, status: int | None) -> None:
        """Log the request with the status of its answer; a second call changes nothing."""
        if self._entry is not None:
            return
        scope, headers = self._scope, self._headers
        path = request_log.without_secrets({"path": scope["path"]}, self._secrets)["path"]
        self._entry = entry = Arrival(
            scope.get("unitask.operation"),
            scope["method"][: request_log.NOTED],  # the log must stay short
            path,
            key_fingerprint(key_of(Request(scope))),
            self._arrived,
            status,
            query=request_log.without_secrets(QueryParams(scope["query_string"]), self._secrets),
            headers=request_log.without_secrets(headers, self._secrets, request_log.HEADERS),
        )
        entry.request = await self._body(self._request, headers.get("content-type", ""))
        self._sandbox.arrivals.append(entry)

    async def _body(self, body: Recorder, kind: str) -> Body | None:
        if body.size <= SMALL_BODY:
            return body.body(kind, self._secrets)
        return await run_in_threadpool(body.body, kind, self._secrets)


async def _file(request: Request) -> Response:
    async def served() -> Response:
        path = await run_in_threadpool(sandbox_of(request).file, request.path_params["name"])
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        shown = media_type.partition("/")[0] in ("image", "video", "audio") and media_type != "image/svg+xml"
        return FileResponse(
            path,
            media_type=media_type,
            headers={"content-security-policy": FILE_POLICY},
            filename=path.name,
            content_disposition_type="inline" if shown else "attachment",
        )

    return await _injected(FILE, request, served)


async def _openapi(_request: Request) -> Response:
    return JSONResponse(contract.document())


async def _about(request: Request) -> Response:
    is_browser = "text/html" in request.headers.get("accept", "")
    return page.page() if is_browser else PlainTextResponse(ABOUT, headers={"vary": "accept"})
