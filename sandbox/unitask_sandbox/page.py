"""The page at / for browsers, the reference at /docs, and the endpoints below /_sandbox/ that the page reads.

The page is plain files of the folder page/, without a build step. It creates, cancels and uploads through the API. What
it reads here needs the key of the account, and is neither logged nor changed by a fault. control.py has the endpoints
for tests. A refusal has the form of the API's own.
"""

import hashlib
from pathlib import Path
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from unitask_api import contract

from unitask_sandbox import bundle, samples
from unitask_sandbox.account import Overview
from unitask_sandbox.engines import ENGINES
from unitask_sandbox.failures import Refusal
from unitask_sandbox.operations import KEY_HEADER, base_url_of, key_of, sandbox_of
from unitask_sandbox.task import Task

MOST_ROWS = 1000
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

REDOC_POLICY = f"{POLICY}; style-src 'self' 'unsafe-inline'; worker-src blob:"  # as Redoc needs it

_FOLDER = Path(__file__).with_name("page")
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_PARTS = {path.name: path for path in _FOLDER.iterdir() if path.suffix in _TYPES}
_PARTS.setdefault("openapi.json", Path(__file__).parents[2] / "docs/openapi.json")  # the wheel has it in the folder
_SAMPLES = {path.name: path for path in (samples.ASTRONAUT, samples.GRACE_HOPPER)}


def page() -> Response:
    """Return the page; its parts come from /_sandbox/page/."""
    return _file(_PARTS["index.html"], {"content-security-policy": POLICY, "referrer-policy": "no-referrer"})


async def _docs(_request: Request) -> Response:
    return _file(_PARTS["redoc.html"], {"content-security-policy": REDOC_POLICY, "referrer-policy": "no-referrer"})


async def _part(request: Request) -> Response:
    name: str = request.path_params["name"]
    if name in _SAMPLES:
        return FileResponse(_SAMPLES[name])
    if name not in _PARTS:
        raise Refusal(404, f"the page has no file {name[:100]!r}")
    return _file(_PARTS[name])


async def _about(request: Request) -> Response:
    settings = sandbox_of(request).settings
    return JSONResponse(
        {
            "speed": settings.speed,
            "engines": [{"model": model, "task_type": task_type} for model, task_type in sorted(ENGINES)],
            "samples": list(_SAMPLES),
            "public_url": settings.public_url,
        }
    )


async def _check(request: Request) -> Response:
    """What is wrong with the input of a form, and what the task would cost."""
    task_type = contract.task_types().get(request.path_params["name"])
    given: Any = bundle.read_json(await request.body())
    if task_type is None or not isinstance(given, dict):
        raise Refusal(400, "send the input of a task type, an object, to /_sandbox/check/NAME")
    given = cast("dict[str, Any]", given)
    found = bundle.form_problems(task_type.input, given)
    # without a field that is missing there can be a price, but not with a wrong one
    priced = all(problem["words"] == "is required" for problem in found)
    price = await run_in_threadpool(sandbox_of(request).price_usd, task_type, given) if priced else None
    return JSONResponse({"problems": found, "usd": price})


# Not async: Starlette calls these in threads.


def _tasks(request: Request) -> Response:
    return if_changed(request, _overview(request).tasks(limit_of(request, "100")))


def _task(request: Request) -> Response:
    return if_changed(request, _overview(request).task(_task_of(request)))


def _input(request: Request) -> Response:
    return JSONResponse(_overview(request).given(_task_of(request)))


def limit_of(request: Request, usual: str) -> int:
    """Return how many rows a request wants."""
    limit = request.query_params.get("limit", usual)
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:5]) <= MOST_ROWS):
        raise Refusal(400, f"limit {limit[:20]!r}: give a number from 1 to {MOST_ROWS}")
    return int(limit)


def _overview(request: Request) -> Overview:
    return sandbox_of(request).overview(key_of(request), base_url_of(request))


def _task_of(request: Request) -> Task:
    return sandbox_of(request).get(key_of(request), request.path_params["task_id"])


def if_changed(request: Request, value: dict[str, Any]) -> Response:
    """Return the value as JSON; 304 when the browser has it already."""
    answer = JSONResponse(value, headers={"cache-control": "no-cache", "vary": KEY_HEADER})
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    answer.headers["etag"] = tag
    return Response(None, 304, answer.headers) if request.headers.get("if-none-match") == tag else answer


def _file(path: Path, headers: dict[str, str] | None = None) -> Response:
    kept = {"cache-control": "no-cache", "vary": "accept", "x-content-type-options": "nosniff", **(headers or {})}
    return FileResponse(path, headers=kept, media_type=_TYPES[path.suffix])


ROUTES = (
    Route("/docs", _docs),
    Route("/_sandbox/page/{name}", _part),
    Route("/_sandbox/samples/{name}", _part),
    Route("/_sandbox/about", _about),
    Route("/_sandbox/check/{name}", _check, methods=["POST"]),
    Route("/_sandbox/tasks", _tasks),
    Route("/_sandbox/tasks/{task_id}", _task),
    Route("/_sandbox/tasks/{task_id}/input", _input),
)
