"""The tests exercise the whole contract, and the parts of the project agree on it."""

import json
from collections.abc import Callable

import pytest
from unitask_contract import bundle
from unitask_contract.bundle import error_rows
from unitask_contract.exchange import Exchange
from unitask_contract.recording.redaction import Redactor

from scripts.pages import DOCS, coverage_table, page

from .support import exerciser
from .support.counter import Coverage


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
    assert exercise.coverage.missing() == []
    assert all(every for _, every in exercise.coverage.numbers().values())


def test_page_is_current(exercise: exerciser.Exercise) -> None:
    assert (DOCS / "coverage.md").read_text(encoding="utf-8") == page("coverage.md", coverage_table(exercise.coverage))


def test_sources_of_error_rows_are_in_the_spec() -> None:
    named = {source for row in error_rows().values() for source in row["source"]}

    assert named <= bundle.document()["x-sources"].keys()


SOME: list[Callable[[Exchange], bool]] = [
    lambda exchange: b"roll_anticlockwise" in exchange.sent,
    lambda exchange: exchange.operation == "upload_file" and exchange.status == 403,
    lambda exchange: exchange.operation == "cancel_task",
    lambda exchange: b'"key_frames"' in exchange.sent and b'"frame1"' in exchange.sent,
]
EXERCISED = {
    'words #/components/schemas/WanxCameraMove/properties/motion_type="roll_anticlockwise"',
    "errors upload of a plan without",
    "examples upload.plan.403",
    "operations cancel_task",
    "statuses cancel_task 200",
    "statuses cancel_task default",
    "examples core.cancel-one.200",
    "examples midjourney.cancel.200",
    "examples luma.key_frames.client.request",
    "fields #/components/schemas/LumaKeyFrames/properties/frame1",
}


def test_exchange_counts_for_each_element_that_it_exercises(exercise: exerciser.Exercise) -> None:
    assert isinstance(exercise.coverage, Recorded)
    some = [one for one in exercise.coverage.exchanges if any(is_one(one) for is_one in SOME)]

    assert set(Coverage().missing()) - set(Coverage(some).missing()) >= EXERCISED


def exercised(method: str, path: str, body: object = None, query: str = "") -> set[str]:
    exchange = Exchange(method, path, json.dumps(body).encode(), 200, b'{"data": {"task_id": "1"}}', query=query)
    return set(Coverage().missing()) - set(Coverage([exchange]).missing())


def test_only_what_the_contract_allows_counts() -> None:
    body, url = {"model": "Qubico/image-toolkit", "task_type": "face-swap"}, "https://me.test/a.jpg"
    inputs = ({"target_image": url, "swap_image": given} for given in (url, 7))
    valid, invalid = (exercised("POST", "/api/v1/task", {**body, "input": given}) for given in inputs)
    searches = (f"page_size={size}&model=flux" for size in (2, 101))
    found, refused = (exercised("GET", "/api/open/tasks/histories", query=query) for query in searches)

    assert "operations FaceSwap" in valid - invalid
    assert len(valid - invalid) == len(found - refused) == 3
    assert all("page_size" in one or "model" in one for one in found - refused)
    assert exercised("GET", "/files/1.png") == set()


def test_redacted_exchanges_exercise_the_same_without_the_examples(exercise: exerciser.Exercise) -> None:
    assert isinstance(exercise.coverage, Recorded)
    exchanges = [one for one in exercise.coverage.exchanges if one.operation][::6]
    redactor = Redactor()
    redacted = [
        redactor.recorded(
            number=number,
            method=one.method,
            path=one.path,
            query=one.query,
            request_headers={},
            request_body=one.sent,
            started="",
            head_seconds=0,
            seconds=0,
            status=one.status,
            response_headers={"content-type": one.content_type},
            response_body=one.content,
        ).exchange
        for number, one in enumerate(exchanges)
    ]
    lost = {*Coverage(redacted).missing()} - {*Coverage(exchanges).missing()}

    assert {name.partition(" ")[0] for name in lost} == {"examples"}
