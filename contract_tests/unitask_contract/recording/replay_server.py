"""Serve a recording on this machine."""

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from unitask_contract.recording.folder import Recording
from unitask_contract.recording.replay import Answer, NotRecorded, Replay, started
from unitask_sandbox import Settings, create_app
from unitask_sandbox.connections import Connection
from unitask_sandbox.fault_injection import CLOSE

HOST = "127.0.0.1"
FILES = "/files"
KEY = "sandbox"  # of the sandbox that answers other requests


@contextmanager
def running(
    recording: Recording, port: int = 0, *, sandbox: bool = False, say: Callable[[str], object] = lambda _: None
) -> Generator[str]:
    """Serve a recording in a thread; yield the base URL.

    Args:
        recording: The recording.
        port: 0 takes a free one.
        sandbox: Whether a sandbox answers the requests that the recording does not have; else they are HTTP 404.
        say: Called with the reason of each such request.

    Raises:
        OSError: The port is taken.
    """
    other = create_app(Settings(keys={KEY: 1000.0})) if sandbox else None
    try:
        with socket.create_server((HOST, port)) as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            url = f"http://{HOST}:{listener.getsockname()[1]}"
            exchanges = list(recording.exchanges())
            ahead = started(exchanges) - time.time()
            replay = Replay(exchanges, lambda: time.time() + ahead, f"{url}{FILES}")
            config = uvicorn.Config(
                _Application(replay, other, say),
                http=Connection,
                log_level="warning",
                access_log=False,
                date_header=False,
                server_header=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=2,
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listener],), name="unitask-replay", daemon=True)
            thread.start()
            try:
                yield url
            finally:
                server.should_exit = True
                thread.join()
    finally:
        if other is not None:
            other.state.sandbox.close()


class _Application:
    """The recording as an ASGI application."""

    def __init__(self, replay: Replay, other: Starlette | None, say: Callable[[str], object]) -> None:
        self._replay, self._other, self._say = replay, other, say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        response = await self._response(Request(scope, receive))
        await response(scope, receive, send)

    async def _response(self, request: Request) -> ASGIApp:
        body, path = await request.body(), request.scope["raw_path"].decode("latin-1")
        if path.startswith(f"{FILES}/") and (file := await run_in_threadpool(self._replay.file, path)):
            return Response(file[1], media_type=file[0])
        query = request.scope["query_string"].decode("latin-1")
        headers = dict(request.headers)
        try:
            answer = await run_in_threadpool(self._replay.answer, request.method, path, query, headers, body)
        except NotRecorded as missing:
            self._say(f"{missing}{'; the sandbox answers it' if self._other else ''}")
            if self._other is not None:
                return _Passed(self._other, body)
            return JSONResponse({"code": 404, "message": str(missing), "data": None}, 404)
        if answer.lost:
            return _Lost(answer)
        if len(answer.pieces) != 1:
            return StreamingResponse(iter(answer.pieces), answer.status or 200, answer.headers)
        return Response(answer.pieces[0], answer.status or 200, answer.headers)


class _Passed:
    """The answer of the sandbox to a request whose body was read."""

    def __init__(self, other: ASGIApp, body: bytes) -> None:
        self._other, self._messages = other, [{"type": "http.request", "body": body}]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def received() -> Message:
            return self._messages.pop() if self._messages else await receive()

        keys = {b"x-api-key": KEY.encode(), b"authorization": f"Bearer {KEY}".encode()}
        headers = [(name, value) for name, value in scope["headers"] if name not in keys]
        await self._other({**scope, "headers": [*headers, *keys.items()]}, received, send)


class _Lost:
    """An answer that did not come, or not wholly: the connection is closed."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer
        if answer.status is not None:
            headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in answer.headers.items()]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            for piece in answer.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        scope["extensions"][CLOSE]()
        while (await receive())["type"] != "http.disconnect":
            pass
