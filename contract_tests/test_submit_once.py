"""Seen from the provider's side: a call makes at most one task, whatever becomes of its answer on the way."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from unitask import AsyncClient, Client, errors
from unitask_sandbox import Fault, Settings, running

from .support import FACE_SWAP, SHELLS

REFUSAL = b'{"code": 429, "message": "too many requests"}'
# What happens to the create, how the call ends, how often it arrives, how many tasks there are then.
CASES: dict[str, tuple[Fault, type[errors.UnitaskError] | None, int, int]] = {
    "the answer is lost": (Fault("create_task", "lose"), errors.SubmissionUncertain, 1, 1),
    "the answer is cut": (Fault("create_task", "cut"), errors.SubmissionUncertain, 1, 1),
    "a gateway refuses": (Fault("create_task", "refuse", 502, b"<html>"), errors.SubmissionUncertain, 1, 0),
    "the API asks to wait": (Fault("create_task", "refuse", 429, REFUSAL, times=2), None, 3, 1),
}


def submit(shell: str, base_url: str) -> None:
    async def asleep(_seconds: float) -> None: ...

    async def main() -> None:
        async with AsyncClient("sandbox", base_url, sleep=asleep) as client:
            await client.submit(FACE_SWAP)

    if shell == "async":
        asyncio.run(main())
        return
    with Client("sandbox", base_url, sleep=lambda _seconds: None) as client:
        client.submit(FACE_SWAP)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("case", CASES)
def test_call_makes_at_most_one_task(case: str, shell: str) -> None:
    fault, ending, arrivals, made = CASES[case]
    settings = Settings(speed="real", faults=(fault,))
    with running(settings) as url, httpx.Client(base_url=url, headers={"x-api-key": "sandbox"}) as seen:
        if ending is None:
            submit(shell, url)
        else:
            with pytest.raises(ending):
                submit(shell, url)
        arrived = [arrival["operation"] for arrival in seen.get("/_sandbox/arrivals").json()["arrivals"]]
        tasks = seen.get("/api/open/tasks/histories").json()["data"]["total"]

    assert (arrived, tasks) == (["create_task"] * arrivals, made)
