"""Client and sandbox in one process and on one clock, which moves only while the client sleeps."""

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from email.utils import formatdate
from typing import Any

import httpx
from unitask import Timestamp
from unitask.webhooks import Receiver
from unitask_contract.checks._http import BLANK, ENDPOINT, SECRET
from unitask_sandbox import Sandbox
from unitask_sandbox.engines import EngineResult
from unitask_sandbox.fault_injection import AnswerLost

WEBHOOK = {"webhook_url": ENDPOINT, "webhook_secret": SECRET}


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def quick_swap(_given: object) -> EngineResult:
    return EngineResult({"image_url": (BLANK, "png")})


class World:
    """One clock for client and provider; the provider works whenever the client sleeps."""

    def __init__(self) -> None:
        self.now = 1.8e9
        self.app: Any = None
        self.pauses: list[float] = []  # of the answer that is under way

    def settings(self) -> dict[str, Any]:
        """Return settings of a sandbox that works in this time."""
        return {
            "autorun": False,
            "engine_process": False,
            "clock": lambda: self.provider_now,
            "sleep": self.answer_later,
            "fetch": lambda _url: BLANK,
        }

    @property
    def sandbox(self) -> Sandbox:
        sandbox: Sandbox = self.app.state.sandbox
        return sandbox

    @property
    def provider_now(self) -> float:
        return self.now

    def clock(self) -> Timestamp:
        return Timestamp(self.now, self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sandbox.advance()

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    async def answer_later(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def deliver(self, receiver: Receiver, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        request = httpx.Request("POST", url, headers=dict(headers), content=body)
        answer: httpx.Response = at_once(httpx.ASGITransport(receiver).handle_async_request(request))
        return answer.status_code


class InstantReceiver(Receiver):
    """A receiver with which a wait takes no time."""

    def __init__(self, world: World) -> None:
        super().__init__(SECRET, clock=lambda: world.now)
        self._world = world

    def wait_for_notification(self, task_ids: str | Collection[str], seconds: float) -> str | None:
        self._world.sleep(seconds)
        return super().wait_for_notification(task_ids, 0)

    async def wait_for_notification_async(self, task_ids: str | Collection[str], seconds: float) -> str | None:
        return self.wait_for_notification(task_ids, seconds)


class Wire(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Calls the sandbox, and breaks as a network does: a lost answer, a read timeout."""

    def __init__(self, world: World) -> None:
        self._world = world

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self.handle_async_request(request))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._world.pauses.clear()
        content = await request.aread() if isinstance(request.stream, httpx.AsyncByteStream) else request.read()
        asked = httpx.Request(request.method, request.url, headers=request.headers, content=content)
        try:
            answer = await httpx.ASGITransport(self._world.app).handle_async_request(asked)
        except AnswerLost as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from None
        patience: float = request.extensions["timeout"]["read"]
        if max(self._world.pauses, default=0.0) > patience:
            self._world.now += patience
            raise httpx.ReadTimeout("the read operation timed out", request=request)
        self._world.now += sum(self._world.pauses)
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        raw = b"".join([piece async for piece in answer.stream])
        date = {"date": formatdate(self._world.provider_now, usegmt=True)}  # a server adds it
        headers = httpx.Headers({**date, **answer.headers})
        return httpx.Response(answer.status_code, headers=headers, stream=httpx.ByteStream(raw))
