"""Call an ASGI application, such as the sandbox, without a connection."""

import asyncio
from typing import Any

import httpx

IN_PROCESS = "http://sandbox.test"  # its base URL


def no_network(url: str) -> bytes:
    """Fetch nothing: for the files that tasks name."""
    raise OSError(f"{url} is not fetched in tests")


class InProcess(httpx.BaseTransport):
    """Sends requests to an ASGI application."""

    def __init__(self, app: Any) -> None:
        self._app = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._runner = asyncio.Runner()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def call() -> httpx.Response:
            answer = await self._app.handle_async_request(request)
            stream = httpx.ByteStream(await answer.aread())
            return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)

        return self._runner.run(call())

    def close(self) -> None:
        self._runner.close()
