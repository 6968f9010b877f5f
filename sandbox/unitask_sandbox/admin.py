"""Endpoints for tests below /_sandbox/: ordering faults, and the log of requests.

    GET    /_sandbox/library     the named faults
    GET    /_sandbox/faults      the faults that are still to happen
    POST   /_sandbox/faults      order one or several (see faults.py)
    DELETE /_sandbox/faults      remove all of them
    GET    /_sandbox/arrivals    every request to the API; ?operation= filters it
    DELETE /_sandbox/arrivals    clear the log

Everything is JSON, and a refusal has the form of the API's own. middleware.py decides who may send requests.
"""

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from unitask_sandbox import bundle
from unitask_sandbox.failures import Refusal
from unitask_sandbox.faults import as_order, library, read_orders
from unitask_sandbox.operations import read_body, sandbox_of


async def _library(_request: Request) -> Response:
    return JSONResponse({"faults": [asdict(fault) for fault in library().values()]})


async def _faults(request: Request) -> Response:
    sandbox = sandbox_of(request)
    if request.method == "DELETE":
        sandbox.clear_faults()
    if request.method == "POST":
        try:
            ordered = read_orders(bundle.read_json(await read_body(request)))
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        for fault in ordered:
            sandbox.fault(fault)
    return JSONResponse({"coming": [as_order(fault) for fault in sandbox.coming_faults()]})


async def _arrivals(request: Request) -> Response:
    arrivals = sandbox_of(request).arrivals
    if request.method == "DELETE":
        arrivals.clear()
    operation = request.query_params.get("operation")
    return JSONResponse({"arrivals": [asdict(each) for each in [*arrivals] if operation in (None, each.operation)]})


ROUTES = (
    Route("/_sandbox/library", _library),
    Route("/_sandbox/faults", _faults, methods=["GET", "POST", "DELETE"]),
    Route("/_sandbox/arrivals", _arrivals, methods=["GET", "DELETE"]),
)
