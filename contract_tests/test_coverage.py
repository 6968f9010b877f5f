"""The tests exercise the whole contract, and the parts of the project agree on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from unitask_contract import bundle
from unitask_contract.counter import KINDS, Coverage, error_rows
from unitask_contract.exchange import Exchange
from unitask_sandbox.create_request import CreateRequest, read_create_request
from unitask_sandbox.failures import Refusal

from scripts.pages import DOCS, coverage_table, page

from .support import exerciser

SWAP = {"model": "Qubico/image-toolkit", "task_type": "face-swap"}
PICTURES = {"target_image": "https://me.test/a.jpg", "swap_image": "https://me.test/b.jpg"}
SWAP_FIELDS = "faceswap: fields #/components/schemas/FaceSwap"


class Recorded(Coverage):
    """Keeps the exchanges, so that a part of them can be counted again."""

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[Exchange] = []

    def add(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        super().add(exchange)


@pytest.fixture(scope="module")
def exercise() -> exerciser.Exercise:
    return exerciser.exercise(Recorded())


def test_client_sandbox_and_spec_agree(exercise: exerciser.Exercise) -> None:
    assert exercise.disagreements == []


def test_whole_contract_is_exercised(exercise: exerciser.Exercise) -> None:
    assert [str(one) for one in exercise.coverage.missing()] == []
    assert set(exercise.coverage.numbers()["all"]) == set(KINDS)


def test_page_is_current(exercise: exerciser.Exercise) -> None:
    assert (DOCS / "coverage.md").read_text(encoding="utf-8") == page("coverage.md", coverage_table(exercise.coverage))


WITHOUT: dict[str, tuple[Callable[[Exchange], bool], set[str]]] = {
    "a word": (
        lambda exchange: b"roll_anticlockwise" in exchange.sent,
        {'wanx: words #/components/schemas/WanxCameraMove/properties/motion_type="roll_anticlockwise"'},
    ),
    "an answer": (
        lambda exchange: exchange.operation == "upload_file" and exchange.status == 403,
        {"upload: errors upload of a plan without", "upload: examples upload.plan.403"},
    ),
    "an operation": (
        lambda exchange: exchange.operation == "cancel_task",
        {
            *("core: operations cancel_task", "core: statuses cancel_task 200", "core: statuses cancel_task default"),
            *("core: examples core.cancel-one.200", "midjourney: examples midjourney.cancel.200"),
        },
    ),
    "a field": (
        lambda exchange: b'"key_frames"' in exchange.sent and b'"frame1"' in exchange.sent,
        {"luma: fields #/components/schemas/LumaKeyFrames/properties/frame1"},
    ),
}


def test_what_is_left_out_is_missing(exercise: exerciser.Exercise) -> None:
    assert isinstance(exercise.coverage, Recorded)
    rules = [is_left_out for is_left_out, _ in WITHOUT.values()]
    left = (one for one in exercise.coverage.exchanges if not any(is_left_out(one) for is_left_out in rules))
    found = Coverage(left).missing([kind for kind in KINDS if kind != "scenarios"])

    assert {str(one) for one in found if one.family != "webhook"} == {
        name for _, names in WITHOUT.values() for name in names
    }


def create(given: dict[str, Any]) -> Exchange:
    body = json.dumps({**SWAP, "input": given}).encode()
    return Exchange("POST", "/api/v1/task", body, 200, b'{"data": {"task_id": "1", "status": "pending"}}')


def exercised(*exchanges: Exchange) -> set[str]:
    return {str(one) for one in Coverage().missing()} - {str(one) for one in Coverage(exchanges).missing()}


def test_invalid_body_does_not_count_but_what_is_around_it_does() -> None:
    right, wrong = exercised(create(PICTURES)), exercised(create({**PICTURES, "swap_image": 7}))

    assert right - wrong == {
        "faceswap: operations FaceSwap",
        f"{SWAP_FIELDS}Input/properties/target_image",
        f"{SWAP_FIELDS}Input/properties/swap_image",
    }
    assert "core: fields #/components/schemas/TaskRequest/properties/input" in wrong


def test_output_in_an_answer_counts_for_its_family() -> None:
    task = {**SWAP, "task_id": "1", "status": "completed", "output": {"image_url": "https://out.test/1.png"}}
    found = exercised(Exchange("GET", "/api/v1/task/1", b"", 200, json.dumps({"data": task}).encode()))

    assert f"{SWAP_FIELDS}Output/properties/image_url" in found
    assert not {one for one in found if one.startswith("core: operations") and "get_task" not in one}


def test_what_is_not_in_the_contract_does_not_count() -> None:
    assert exercised(Exchange("GET", "/files/1.png", b"", 200, b"\x89PNG")) == set()
    assert exercised(Exchange("GET", "/account/info", b"", 200, b"<html>")) == {"account: operations get_account_info"}


def test_invalid_query_does_not_count() -> None:
    def asked(query: str) -> set[str]:
        return exercised(Exchange("GET", "/api/open/tasks/histories", b"", 200, b"", query=query))

    place = "#/components/schemas/list_task_history?/properties"
    assert asked("page_size=2&model=flux") - asked("page_size=101&model=flux") == {
        f"account: fields {place}/page_size",
        f"account: fields {place}/model",
        f'account: words {place}/model/x-advisory="flux"',
    }
    assert asked("page=" + "9" * 5000) == asked("page=x") == asked("")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": [1], "task_type": {}, "input": []}',
        b'{"data": {"model": [1], "task_type": {}, "output": 3, "error": [7]}}',
        b'{"data": ' * 990 + b"1" + b"}" * 990,
        b"--x\r\n\r\n",
        b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\nfive\r\n--x--\r\n',
    ],
    ids=["a request", "an answer", "deep", "half a form", "a form"],
)
def test_hostile_bodies_are_counted_without_an_error(body: bytes) -> None:
    sent = [Exchange(method, path, body, 200, body) for method, path in bundle.routes().values()]

    assert {one for one in exercised(*sent) if "operations" in one}


def test_sources_of_error_rows_are_in_the_spec() -> None:
    named = {source for row in error_rows().values() for source in row["source"]}

    assert named <= bundle.document()["x-sources"].keys()


def test_disagreement_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made, entry = exerciser.Exercise(), bundle.entries()["FaceSwap"]
    task = {**SWAP, "task_id": "1", "status": "completed", "output": {"image_url": [7]}}
    monkeypatch.setattr(exerciser, "_each_answer", lambda: [("get_task", "200", {"data": task})])
    inputs = [PICTURES, {**PICTURES, "swap_image": 7}, {**PICTURES, "target_image": "https://me.test/refused.jpg"}]
    monkeypatch.setattr(exerciser, "_each", lambda _: [(entry, value) for value in inputs])
    monkeypatch.setattr(exerciser, "_call_operations", lambda *_: asyncio.sleep(0))
    monkeypatch.setattr("unitask_sandbox.provider.read_create_request", refusing)
    exerciser._give_answers(made)
    asyncio.run(exerciser._send_requests(made))

    assert len(made.disagreements) == 3, made.disagreements
    for said, words in zip(made.disagreements, ("image_url", "InvalidInput", "InvalidRequest"), strict=True):
        assert words in said


def refusing(body: bytes) -> CreateRequest:
    if b"refused.jpg" in body:
        raise Refusal(400, "invalid request: of all pictures this one")
    return read_create_request(body)
