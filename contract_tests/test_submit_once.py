"""A call makes at most one task, seen from the provider's side of a real connection."""

import httpx
import pytest
from unitask import Client, errors
from unitask_sandbox import Fault, Settings, running

from .support import FACE_SWAP

REFUSAL = b'{"code": 429, "message": "too many requests"}'
UNCERTAIN = errors.SubmissionUncertain
# What happens to the submission, how the call ends, how often it arrives, how many tasks there are then.
CASES: dict[str, tuple[Fault, type[errors.UnitaskError] | None, int, int]] = {
    "the answer is lost": (Fault("create_task", "lose"), UNCERTAIN, 1, 1),
    "the answer is cut": (Fault("create_task", "cut"), UNCERTAIN, 1, 1),
    "a gateway refuses": (Fault("create_task", "refuse", 502, b"<html>"), UNCERTAIN, 1, 0),
    "the API asks to wait": (Fault("create_task", "refuse", 429, REFUSAL, times=2), None, 3, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_call_makes_at_most_one_task(case: str) -> None:
    fault, error, arrivals, made = CASES[case]
    headers = {"x-api-key": "sandbox"}
    with running(Settings(speed="real", faults=(fault,))) as url, httpx.Client(base_url=url, headers=headers) as seen:
        with Client("sandbox", url, sleep=lambda _seconds: None) as client:
            if error is None:
                client.submit(FACE_SWAP)
            else:
                with pytest.raises(error):
                    client.submit(FACE_SWAP)
        arrived = [arrival["operation"] for arrival in seen.get("/_sandbox/arrivals").json()["arrivals"]]
        tasks = seen.get("/api/open/tasks/histories").json()["data"]["total"]

    assert (arrived, tasks) == (["create_task"] * arrivals, made)
