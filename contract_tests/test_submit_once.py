"""A call makes at most one task, seen from the provider's side of a real connection."""

from contextlib import nullcontext

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
    with running(Settings(speed="real", faults=(fault,))) as url:
        with Client("sandbox", url, sleep=lambda _seconds: None) as client:
            with pytest.raises(error) if error else nullcontext():
                client.submit(FACE_SWAP)
            assert len(list(client.history())) == made
        arrived = [one["operation"] for one in httpx.get(f"{url}/_sandbox/arrivals").json()["arrivals"]]

    assert arrived.count("create_task") == arrivals
