"""Legacy tasks: how they are submitted, polled and read."""

from typing import Any

import pytest
from unitask import Budget, Task, errors, tasks
from unitask._core import envelope, requests
from unitask._core.effects import SendRequest
from unitask.inputs import request_body

from .script import TASK_ID, answer, limits, play, run_flow
from .shells import perform, provider

FACES = tasks.LegacyFaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.jpg")


def test_poll_names_the_task_in_the_path_or_in_the_body() -> None:
    by_post = SendRequest("POST", "/api/face_swap/v1/fetch", {"task_id": "a/b"}, timeout=5.0)

    assert requests.get_task("a/b", 5.0, "face_swap_v1") == by_post
    assert requests.get_task("a/b", 5.0, "luma_v1") == SendRequest("GET", "/api/luma/v1/video/a%2Fb", timeout=5.0)


def test_unknown_legacy_task_is_not_sent() -> None:
    budget = Budget(1, assume_usd=1)
    with pytest.raises(errors.InvalidInput, match="nothing was sent"):
        perform("sync", provider(), lambda client: client.submit(tasks.Raw("legacy", "x", {})), budget=budget)

    assert budget.held_usd == 0


def legacy(status: str, **fields: Any) -> dict[str, Any]:
    return {"code": 200, "data": {"task_id": TASK_ID, "status": status, **fields}, "message": "ok"}


def test_legacy_task_is_waited_for_like_any_other() -> None:
    done = legacy("success", image="https://out.test/a.jpg")
    played = play(
        run_flow(request_body(FACES), tasks.LegacyFaceSwapOutput, "LegacyFaceSwap", limits()),
        answer(200, legacy("success")),
        answer(200, legacy("processing", image="")),
        answer(200, done),
    )

    submission = next(step for step in played.steps if isinstance(step, SendRequest))
    assert (submission.path, submission.json) == ("/api/face_swap/v1/async", request_body(FACES)["input"])
    assert played.sent == ["POST"] * 3
    assert played.changes == ["pending", "processing", "success"]
    assert (played.result.id, played.result.model, played.result.task_type) == (TASK_ID, "legacy", "face_swap_v1")
    assert played.result.raw["legacy"]["data"] == done["data"]
    assert played.result.raw["error"] == {"code": 0, "message": ""}


def test_reasons_of_a_failed_legacy_task_are_its_error() -> None:
    for output, reasons, message in (
        (tasks.LegacyFaceSwapOutput, ["no face", 7], "no face; 7"),
        (tasks.LegacyFaceSwapOutput, "no face", "no face"),
        (tasks.LegacyFaceSwapOutput, None, ""),
        (tasks.LegacyLumaOutput, ["no face"], ""),  # this protocol has no field for reasons
    ):
        found = envelope.read_task(answer(200, legacy("failed", error_messages=reasons)), output)
        assert isinstance(found, Task)
        assert (found.state, found.raw["error"]) == ("failed", {"code": 1 if message else 0, "message": message})
