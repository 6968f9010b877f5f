"""A web app that swaps the faces of two uploads: uvicorn fastapi_app:app.

POST /swaps with the files `group` and `face` returns the id of a task; GET /swaps/ID returns its state and its picture.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, UploadFile
from fastapi.responses import JSONResponse
from unitask import AsyncClient, errors, tasks


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client for all requests."""
    async with AsyncClient(poll_patience=5) as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(errors.UnitaskError)
async def report(_request: Request, error: errors.UnitaskError) -> JSONResponse:
    """Answer with a status that says whether the user, or this app, has to act."""
    if isinstance(error, errors.InvalidInput):
        return JSONResponse({"problems": error.problems}, 422)
    if isinstance(error, errors.NotFound):
        return JSONResponse({"problems": ["there is no such task"]}, 404)
    print(f"{error}\nnext: {error.next_step}")  # for the people who run this app: it names key, plan, balance, task
    return JSONResponse({"problems": ["try again later"]}, 503)


@app.post("/swaps", status_code=202)
async def submit(group: UploadFile, face: UploadFile) -> dict[str, str]:
    """Submit a swap. Store the id with your user, so that other users cannot read the task."""
    task = await app.state.client.submit(tasks.FaceSwap(target_image=group, swap_image=face))
    return {"id": task.id}


@app.get("/swaps/{task_id}")
async def state(task_id: str) -> dict[str, str | None]:
    """Return the state of a swap, the URL of its picture, and why it failed."""
    task = await app.state.client.get(task_id)
    return {"state": task.state, "picture": task.output.image_url, "failure": task.failure or None}
