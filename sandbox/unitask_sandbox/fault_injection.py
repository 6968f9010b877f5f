"""Apply a fault to an answer: replace it, change it, delay it, cut it, or send none."""

import json
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from unitask_sandbox.broken_responses import Cut, Lost, Short, Sleep, Slow
from unitask_sandbox.faults import Fault


async def injected(fault: Fault, perform: Callable[[], Awaitable[Response]], sleep: Sleep) -> Response:
    """The answer to a request that a fault happens to."""
    if fault.kind in ("refuse", "drop"):
        answer = Lost() if fault.kind == "drop" else _ordered(fault)
    else:
        answer = _changed(fault, await perform())
    return Slow(answer, fault.delay, fault.drip, sleep) if fault.delay or fault.drip else answer


def _changed(fault: Fault, answer: Response) -> Response:
    match fault.kind:
        case "lose":
            return Lost()
        case "cut":
            return Cut(answer)
        case "short":
            return Short(answer)
        case "edit":
            return _Edited(answer, fault)
        case "slow":
            return answer
        case _:
            return _ordered(fault)


def _ordered(fault: Fault) -> Response:
    return Response(fault.body, fault.status, fault.headers, "application/json")


class _Edited(Response):
    """Another answer, with the changes of a fault."""

    def __init__(self, whole: Response, fault: Fault) -> None:
        super().__init__()
        self._whole = whole
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, content = 200, bytearray()
        headers: dict[str, str] = {}

        async def gather(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            else:
                content.extend(message.get("body", b""))

        await self._whole(scope, receive, gather)
        headers.pop("content-length", None)
        changed = Response(self._content(bytes(content)), status, {**headers, **self._fault.headers})
        await changed(scope, receive, send)

    def _content(self, content: bytes) -> bytes:
        if not (self._fault.changes or self._fault.without or self._fault.part):
            return content
        try:
            body = json.loads(content)
        except ValueError:  # a stream, a picture
            return content
        return json.dumps(self._fault.edited(body), ensure_ascii=False).encode()
