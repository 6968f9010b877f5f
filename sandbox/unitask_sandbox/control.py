"""The endpoints below /_sandbox/ that control the provider, for tests. docs/local-provider.md describes them.

They need no key, are not logged and are changed by no fault. The guard (middleware.py) refuses requests of web pages of
another origin, also of those that may call the API.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from unitask_api import contract

from unitask_sandbox import bundle
from unitask_sandbox.clock import LATEST
from unitask_sandbox.failures import Refusal
from unitask_sandbox.faults import as_order, library, read_orders
from unitask_sandbox.middleware import SNAPSHOT_PATH
from unitask_sandbox.operations import sandbox_of
from unitask_sandbox.page import if_changed, limit_of
from unitask_sandbox.request_log import is_of_key

FILTERS = ("key", "limit", "operation", "path")  # of the request log
HOW_TO_MOVE = 'send {"advance": seconds} or {"set": unix seconds}'
PIECE = 2**18  # bytes of a snapshot that are sent at once
IN_MEMORY = 2**20  # bytes of a snapshot


async def _library(_request: Request) -> Response:
    return JSONResponse({"faults": [asdict(fault) for fault in library().values()]})


async def _faults(request: Request) -> Response:
    faults = sandbox_of(request).faults
    if request.method == "DELETE":
        faults.clear()
    if request.method == "POST":
        try:
            faults.add(read_orders(bundle.read_json(await request.body())))
        except ValueError as error:
            raise Refusal(400, str(error)) from None
    return if_changed(request, {"coming": [as_order(fault) for fault in faults.coming()]})


async def _clock(request: Request) -> Response:
    sandbox = sandbox_of(request)
    if request.method == "POST":
        order: Any = bundle.read_json(await request.body())
        [(name, value)] = cast("dict[str, Any]", order).items() if _is_object_of_one(order) else [("", None)]
        if name not in ("advance", "set") or isinstance(value, bool) or not isinstance(value, int | float):
            raise Refusal(400, HOW_TO_MOVE)
        now = sandbox.clock()
        to = value + now if name == "advance" and abs(value) <= LATEST else value
        if to > LATEST:
            raise Refusal(400, f"{name} {str(value)[:20]}: the latest time is {LATEST:.0f}, in the year 9999")
        if to < now:
            raise Refusal(400, f"the clock is at {now:.3f} and only moves forward; /_sandbox/reset begins anew")
        await run_in_threadpool(sandbox.move_clock, to)
    return JSONResponse({"now": sandbox.clock()})


def _is_object_of_one(value: object) -> bool:
    return isinstance(value, dict) and len(cast("dict[str, object]", value)) == 1


async def _snapshot(request: Request) -> Response:
    sandbox = sandbox_of(request)
    if request.method == "POST":
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as received:
            async for piece in request.stream():
                received.write(piece)
            await run_in_threadpool(sandbox.load, cast("IO[bytes]", received))
        return JSONResponse({"status": "ok"})
    saved = cast("IO[bytes]", tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - closed when it is sent
    await run_in_threadpool(sandbox.save, saved)
    headers = {"content-length": str(saved.tell()), "content-disposition": 'attachment; filename="sandbox.zip"'}
    return StreamingResponse(_pieces(saved), headers=headers, media_type="application/zip")


def _pieces(saved: IO[bytes]) -> Iterator[bytes]:
    with saved:
        saved.seek(0)
        while piece := saved.read(PIECE):
            yield piece


# Not async: Starlette calls these in threads.


def _arrivals(request: Request) -> Response:
    arrivals, query = sandbox_of(request).arrivals, request.query_params
    if unknown := [name for name in query if name not in FILTERS]:  # a misspelt one would let every request pass
        raise Refusal(400, f"there is no filter {unknown[0][:20]!r}; there are {', '.join(FILTERS)}")
    if "operation" in query and query["operation"] not in contract.operations():
        raise Refusal(400, f"the contract has no operation {query['operation'][:40]!r}; create_task is one")
    if request.method == "DELETE":
        arrivals.clear()
    found = [
        each
        for each in [*arrivals]
        if query.get("operation") in (None, each.operation)
        and is_of_key(each.key, query.get("key"))
        and each.path.startswith(query.get("path", ""))
    ]
    if "limit" in query:
        found = found[-limit_of(request, "") :]
    return if_changed(request, {"arrivals": [each.shown() for each in found]})


def _accounts(request: Request) -> Response:
    return JSONResponse({"accounts": sandbox_of(request).overview_of_accounts()})


def _reset(request: Request) -> Response:
    sandbox_of(request).reset()
    return JSONResponse({"status": "ok"})


ROUTES = (
    Route("/_sandbox/library", _library),
    Route("/_sandbox/faults", _faults, methods=["GET", "POST", "DELETE"]),
    Route("/_sandbox/arrivals", _arrivals, methods=["GET", "DELETE"]),
    Route("/_sandbox/accounts", _accounts),
    Route("/_sandbox/clock", _clock, methods=["GET", "POST"]),
    Route("/_sandbox/reset", _reset, methods=["POST"]),
    Route(SNAPSHOT_PATH, _snapshot, methods=["GET", "POST"]),
)
