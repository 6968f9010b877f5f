"""What is no part of the provider's API: ordering faults, and the report of what arrived, below /_sandbox/.

    GET    /_sandbox/library     the faults that have a name
    GET    /_sandbox/faults      what is still to happen
    POST   /_sandbox/faults      orders one or several (library.py says how); answered with what is still to happen
    DELETE /_sandbox/faults      lets all go well from now on
    GET    /_sandbox/arrivals    every request to the API; ?operation= ?key= ?status= ?since= narrow it
    DELETE /_sandbox/arrivals    forgets them

Everything is JSON, and a refusal has the form of the API's own. Rules of this file: who may ask at all is decided in
`is_of_this_origin` alone, before any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from unitask_sandbox.creation import read_json
from unitask_sandbox.failures import Refusal
from unitask_sandbox.library import as_order, library, read_orders
from unitask_sandbox.operations import read_body, sandbox_of

_FILTERS: Mapping[str, type[str | int | float]] = {"operation": str, "key": str, "status": int, "since": float}


def is_of_this_origin(request: Request) -> bool:
    """Whether a request comes from no web page, or from a page of this very server.

    A browser says where a page is from in Origin or in Sec-Fetch-Site; "none" is somebody who typed the address.
    """
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


class _OwnOrigin:
    """Refuses what comes from the web pages of others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_of_this_origin(Request(scope)):
            raise Refusal(403, "a web page of another origin asks; open this server's own address instead")
        await self._app(scope, receive, send)


async def _library(_request: Request) -> Response:
    return JSONResponse({"faults": [asdict(fault) for fault in library().values()]})


async def _faults(request: Request) -> Response:
    sandbox = sandbox_of(request)
    if request.method == "DELETE":
        sandbox.clear_faults()
    if request.method == "POST":
        try:
            ordered = read_orders(read_json(await read_body(request)))
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        for fault in ordered:
            sandbox.fault(fault)
    return JSONResponse({"coming": [as_order(fault) for fault in sandbox.coming_faults()]})


async def _arrivals(request: Request) -> Response:
    arrivals = sandbox_of(request).arrived
    wanted = _wanted(request)
    if request.method == "DELETE":
        arrivals.clear()
    return JSONResponse({"arrivals": [asdict(arrival) for arrival in arrivals.listed(**wanted)]})


def _wanted(request: Request) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for name, text in request.query_params.items():
        if name not in _FILTERS:
            raise Refusal(400, f"no filter {name!r}; there are {', '.join(_FILTERS)}")
        try:
            wanted[name] = _FILTERS[name](text)
        except ValueError:
            raise Refusal(400, f"{name} is {text!r:.80}: give a number") from None
    return wanted


ROUTES = Mount(
    "/_sandbox",
    routes=[
        Route("/library", _library),
        Route("/faults", _faults, methods=["GET", "POST", "DELETE"]),
        Route("/arrivals", _arrivals, methods=["GET", "DELETE"]),
    ],
    middleware=[Middleware(_OwnOrigin)],
)
