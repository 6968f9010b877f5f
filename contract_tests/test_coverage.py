"""The harness exercises the whole contract, and its parts agree on it; what is left out is noticed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from unitask_contract import bundle
from unitask_contract.coverage import sweep
from unitask_contract.coverage.branches import KEYWORDS, branches, taken
from unitask_contract.coverage.counting import KINDS, Coverage, error_rows
from unitask_contract.coverage.instances import instances
from unitask_contract.exchange import Exchange
from unitask_contract.mutation import changes
from unitask_sandbox.create_request import CreateRequest, read_create_request
from unitask_sandbox.failures import Refusal

from .coverage_page import PAGE, page

pytestmark = pytest.mark.contract("coverage")

QUERIES = [query for name in bundle.operations() if (query := bundle.query_of(name))]
COMPONENTS = [*sorted(bundle.document()["components"]["schemas"]), *QUERIES]
SWAP = {"model": "Qubico/image-toolkit", "task_type": "face-swap"}
PICTURES = {"target_image": "https://me.test/a.jpg", "swap_image": "https://me.test/b.jpg"}


class Kept(Coverage):
    """Keeps what it is told, so that it can be told again in part."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Exchange] = []

    def add(self, exchange: Exchange) -> None:
        self.told.append(exchange)
        super().add(exchange)


@pytest.fixture(scope="module")
def swept() -> sweep.Swept:
    """Everything, said once."""
    return sweep.sweep(Kept())


def test_parts_of_the_project_agree_on_the_contract(swept: sweep.Swept) -> None:
    """The client sends what the contract allows, the sandbox accepts it, and the client understands every answer."""
    assert swept.disagreements == []


def test_whole_contract_is_exercised(swept: sweep.Swept) -> None:
    """Every operation, status, branch, word, example, row of errors and scenario."""
    assert [str(one) for one in swept.coverage.missing()] == []
    assert set(swept.coverage.numbers()["all"]) == set(KINDS)


def test_page_is_what_is_exercised(swept: sweep.Swept) -> None:
    """`make generate` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page(swept.coverage)


LEFT_OUT: dict[str, tuple[Callable[[Exchange], bool], set[str]]] = {
    "a word": (
        lambda exchange: b"roll_anticlockwise" in exchange.sent,
        {"wanx: words WanxCameraMove#/properties/motion_type/enum=roll_anticlockwise"},
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
    "a parameter": (
        lambda exchange: "end_time=" in exchange.query,
        {"account: branches list_task_history?#/properties/end_time"},
    ),
    "a branch": (
        lambda exchange: b'"key_frames": null' in exchange.sent or b'"key_frames":null' in exchange.sent,
        {"luma: branches LumaVideoInput#/properties/key_frames/anyOf/1"},
    ),
}


def test_what_is_left_out_is_missed(swept: sweep.Swept) -> None:
    """Exactly that, by its name; notifications and scenarios are told in another way."""
    assert isinstance(swept.coverage, Kept)
    rules = [is_left_out for is_left_out, _ in LEFT_OUT.values()]
    coverage = Coverage(one for one in swept.coverage.told if not any(is_left_out(one) for is_left_out in rules))
    found = coverage.missing([kind for kind in KINDS if kind != "scenarios"])

    assert {str(one) for one in found if one.family != "webhook"} == set().union(
        *(named for _, named in LEFT_OUT.values())
    )


def create(given: dict[str, Any], status: int = 200) -> Exchange:
    """A face swap that is created."""
    body = json.dumps({**SWAP, "input": given}).encode()
    return Exchange("POST", "/api/v1/task", body, status, b'{"data": {"task_id": "1", "status": "pending"}}')


def exercised(*exchanges: Exchange) -> set[str]:
    """What these exercise, of the face swaps and of tasks in general."""
    return {str(one) for one in Coverage().missing()} - {str(one) for one in Coverage(exchanges).missing()}


def test_a_body_counts_when_all_of_it_is_allowed() -> None:
    """A wrong field spoils the others; what is around it counts on its own."""
    right, wrong = exercised(create(PICTURES)), exercised(create({**PICTURES, "swap_image": 7}))

    assert right - wrong == {
        "faceswap: operations FaceSwap",
        "faceswap: branches FaceSwapInput#/properties/target_image",
        "faceswap: branches FaceSwapInput#/properties/swap_image",
    }
    assert "core: branches TaskRequest#/properties/input" in wrong


def test_of_several_alternatives_the_first_that_fits_counts() -> None:
    """So an open list of words is exercised by a word that is not in it."""
    known, unknown = (taken("TaskStatus", word) for word in ("pending", "Retrying"))

    assert known == {"TaskStatus#/anyOf/0", "TaskStatus#/anyOf/0/enum=pending"}
    assert unknown == {"TaskStatus#/anyOf/1"}


def test_output_in_an_answer_counts_for_its_family() -> None:
    """By the names of the task that the answer is about."""
    task = {**SWAP, "task_id": "1", "status": "completed", "output": {"image_url": "https://out.test/1.png"}}
    found = exercised(Exchange("GET", "/api/v1/task/1", b"", 200, json.dumps({"data": task}).encode()))

    assert "faceswap: branches FaceSwapOutput#/properties/image_url" in found
    assert not {one for one in found if one.startswith("core: operations") and "get_task" not in one}


def test_what_is_nothing_of_the_contract_counts_nothing() -> None:
    """A file, a page of HTML, and an answer that the contract does not have."""
    assert exercised(Exchange("GET", "/files/1.png", b"", 200, b"\x89PNG")) == set()
    assert exercised(Exchange("GET", "/account/info", b"", 200, b"<html>")) == {"account: operations get_account_info"}


def test_query_counts_when_all_of_it_is_allowed() -> None:
    """Its parameters, and the words that are advised for them."""

    def asked(query: str) -> set[str]:
        return exercised(Exchange("GET", "/api/open/tasks/histories", b"", 200, b"", query=query))

    assert asked("page_size=2&model=flux") - asked("page_size=101&model=flux") == {
        "account: branches list_task_history?#/properties/page_size",
        "account: branches list_task_history?#/properties/model",
        "account: words list_task_history?#/properties/model/x-advisory/enum=flux",
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
def test_nothing_that_comes_stops_the_count(body: bytes) -> None:
    """Whatever a provider answers, and whatever was sent to it."""
    sent = [Exchange(method, path, body, 200, body) for method, path in bundle.routes().values()]

    assert {one for one in exercised(*sent) if "operations" in one}


def test_instances_take_every_branch_and_nothing_else() -> None:
    """Each is allowed, and together they leave no branch of their component out."""
    for component in COMPONENTS:
        found = [taken(component, value) for value in instances(component)]
        assert None not in found, component
        assert set().union(*(some or () for some in found)) >= branches(component), component


def test_what_is_taken_is_what_the_schema_allows() -> None:
    """As an independent validator sees it, for values with every field, and changes of them that are mostly wrong."""
    found = [0, 0]
    for component in COMPONENTS:
        for _, _, changed in changes(instances(component)[min(1, len(instances(component)) - 1)]):
            is_allowed = bundle.allows(component, changed)
            assert (taken(component, changed) is not None) == is_allowed, (component, changed)
            found[is_allowed] += 1
    assert min(found) > 1000


def test_every_keyword_of_the_contract_is_known() -> None:
    """One that is not would make more of a body count than is allowed."""

    def keywords(rule: Any) -> Iterator[str]:
        if isinstance(rule, list):
            for part in rule:
                yield from keywords(part)
        elif isinstance(rule, dict):
            for key, part in rule.items():
                yield key
                if key in ("properties", "patternProperties"):
                    yield from (word for each in part.values() for word in keywords(each))
                elif key not in ("enum", "const", "examples", "required", "dependentRequired", "x-media", "x-source"):
                    yield from keywords(part) if key != "x-max-product" else ()

    assert {word for component in COMPONENTS for word in keywords(bundle.component(component))} <= KEYWORDS


def test_each_source_of_a_row_is_known() -> None:
    """By its short name, as in spec/sources.yaml."""
    named = {source for row in error_rows().values() for source in row["source"]}

    assert named <= bundle.document()["x-sources"].keys()


def test_disagreement_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that the client does not understand, an input that it does not send, and one that is not accepted."""
    swept, entry = sweep.Swept(), bundle.entries()["FaceSwap"]
    task = {**SWAP, "task_id": "1", "status": "completed", "output": {"image_url": [7]}}
    monkeypatch.setattr(sweep, "_each_answer", lambda: [("get_task", "200", {"data": task})])
    inputs = [PICTURES, {**PICTURES, "swap_image": 7}, {**PICTURES, "target_image": "https://me.test/refused.jpg"}]
    monkeypatch.setattr(sweep, "_each", lambda _: [(entry, value) for value in inputs])
    monkeypatch.setattr(sweep, "_ask_plainly", lambda *_: asyncio.sleep(0))
    monkeypatch.setattr("unitask_sandbox.provider.read_create_request", refusing)
    sweep._give_answers(swept)
    asyncio.run(sweep._ask(swept))

    assert len(swept.disagreements) == 3, swept.disagreements
    for told, words in zip(swept.disagreements, ("image_url", "InvalidInput", "InvalidRequest"), strict=True):
        assert words in told


def refusing(body: bytes) -> CreateRequest:
    """Reads creates, but for one picture."""
    if b"refused.jpg" in body:
        raise Refusal(400, "invalid request: of all pictures this one")
    return read_create_request(body)
