"""Tasks of the API before the unified one: how they are created, looked at and read."""

from __future__ import annotations

from typing import Any

import pytest
from unitask import Task, TaskInput, errors, tasks
from unitask._core import envelope, flows, protocols, requests
from unitask._core.effects import SendRequest
from unitask.inputs import request_body

from .script import RESEND, TASK_ID, answer, limits, play, run_flow

FACES = tasks.LegacyFaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.jpg")
LUMA = tasks.LegacyLumaVideo(prompt="a red fox")
IMAGINE = tasks.LegacyMidjourneyImagine(prompt="a red fox")


def body_of(task: TaskInput[Any]) -> dict[str, Any]:
    return request_body(task)


@pytest.mark.parametrize(
    ("task", "path"),
    [
        (FACES, "/api/face_swap/v1/async"),
        (LUMA, "/api/luma/v1/video"),
        (IMAGINE, "/mj/v2/imagine"),
    ],
)
def test_input_is_the_whole_body_of_a_create(task: TaskInput[Any], path: str) -> None:
    """Over an endpoint of its own; there is no model and no task type around it."""
    body = body_of(task)
    send = requests.create(body)

    assert (send.method, send.path, send.json) == ("POST", path, body["input"])


def test_task_type_of_no_catalogue_has_no_endpoint() -> None:
    """The error names it."""
    with pytest.raises(LookupError, match="the catalogue has no legacy nonsense"):
        requests.create({"model": "legacy", "task_type": "nonsense", "input": {}})


@pytest.mark.parametrize(
    ("protocol", "send"),
    [
        ("face_swap_v1", SendRequest("POST", "/api/face_swap/v1/fetch", {"task_id": "a/b"}, timeout=5.0)),
        ("mj_v2", SendRequest("POST", "/mj/v2/fetch", {"task_id": "a/b"}, timeout=5.0)),
        ("luma_v1", SendRequest("GET", "/api/luma/v1/video/a%2Fb", timeout=5.0)),
        ("kling_v1", SendRequest("GET", "/api/kling/v1/video/a%2Fb", timeout=5.0)),
    ],
)
def test_look_names_the_task_in_the_path_or_in_the_body(protocol: str, send: SendRequest) -> None:
    """As its page says; an id is no path."""
    assert requests.get_task("a/b", 5.0, protocol) == send


def test_legacy_task_is_waited_for_like_any_other() -> None:
    """Its answers are put into the unified form; a create says only that it was accepted."""
    data: dict[str, Any] = {"task_id": TASK_ID, "status": "success", "image": "https://out.test/a.jpg"}
    played = play(
        run_flow(body_of(FACES), tasks.LegacyFaceSwapOutput, "LegacyFaceSwap", limits()),
        answer(200, {"code": 200, "data": {"task_id": TASK_ID, "status": "success"}, "message": "ok"}),
        answer(200, {"code": 200, "data": {"task_id": TASK_ID, "status": "processing", "image": ""}, "message": "ok"}),
        answer(200, {"code": 200, "data": data, "message": "ok"}),
    )

    assert played.sent == ["POST"] * 3
    assert played.changes == ["pending", "processing", "success"]
    assert (played.result.id, played.result.model, played.result.task_type) == (TASK_ID, "legacy", "face_swap_v1")
    assert [file.url for file in played.result.output.files] == ["https://out.test/a.jpg"]
    assert played.result.raw["legacy"]["data"] == data
    assert played.result.raw["error"] == {"code": 0, "message": ""}


@pytest.mark.parametrize(
    ("reasons", "said"), [(["no face", 7], "no face; 7"), ("no face", "no face"), ([], ""), (None, "")]
)
def test_reasons_of_a_failed_legacy_task_are_its_error(reasons: Any, said: str) -> None:
    """Several are put in a row; code 1 stands for "there is one"."""
    data = {"task_id": TASK_ID, "status": "failed", "error_messages": reasons}
    found = envelope.read_task(answer(200, {"data": data}), tasks.LegacyFaceSwapOutput)

    assert isinstance(found, Task)
    assert found.raw["error"] == {"code": 1 if said else 0, "message": said}


def test_protocol_without_reasons_has_no_error() -> None:
    """Luma's and Kling's pages show none; the status word says that it failed."""
    data = {"task_id": TASK_ID, "status": "failed", "generation": None}
    found = envelope.read_task(answer(200, {"data": data, "message": "ok"}), tasks.LegacyLumaOutput)

    assert isinstance(found, Task)
    assert (found.state, found.raw["error"]) == ("failed", {"code": 0, "message": ""})


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": []}, {"data": {"task_id": 7}}])
def test_answer_of_another_shape_is_not_read(body: Any) -> None:
    """Nothing is made up where nothing stands."""
    assert isinstance(envelope.read_task(answer(200, body), tasks.LegacyLumaOutput), envelope.Unreadable)
    assert protocols.unified(None, "luma_v1", created=False) is None


def test_refused_legacy_create_is_an_error() -> None:
    """Of the usual kinds."""
    played = play(flows.submit(body_of(LUMA), tasks.LegacyLumaOutput, RESEND), answer(402, {"message": "no"}))

    assert isinstance(played.error, errors.InsufficientCredit)
