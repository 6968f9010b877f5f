"""A body that contradicts the spec ends in a patch: with it the spec allows it, and nothing in it is anybody's."""

from __future__ import annotations

import copy
import json
import random
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from generator.bundle import at as at_pointer
from generator.bundle import bundle as bundled
from generator.bundle import load_yaml
from generator.changes import changes as changed
from generator.changes import verdict
from generator.lint import faults
from jsonschema import Draft202012Validator
from unitask_contract import bundle, mutation
from unitask_contract.exchange import Exchange
from unitask_contract.patches.contradictions import findings, schema_of
from unitask_contract.patches.proposals import Kind, differences, proposal, spec_folder
from unitask_contract.schema_paths import Path as Steps

from .support import examples
from .test_drift import accepts, seen_value

SPEC = Path(__file__).resolve().parents[1] / "spec"
SWAP, SUNO, KLING = (
    f"{name}.completed.200" for name in ("faceswap.face-swap", "suno.generate_music", "kling.video_generation")
)
ACTIVE, UPLOAD, REFUSED = "account.active-tasks.200", "upload.upload.200", "upload.bad-request.400"


def answered(name: str, *path: str | int, value: Any = ..., absent: bool = False) -> Exchange:
    example = examples()[name]
    body = copy.deepcopy(example["value"])
    if path:
        holder = at(body, path[:-1])
        holder[path[-1]] = value
        if absent:
            del holder[path[-1]]
    return answer_of(example, body)


def answer_of(example: dict[str, Any], body: Any) -> Exchange:
    method, path = bundle.route_of(example["x-operation"])
    status = 200 if example["x-part"] == "200" else 400
    return Exchange(method, path.replace("{task_id}", "x"), b"", status, json.dumps(body).encode())


def at(value: Any, path: Steps) -> Any:
    for step in path:
        value = value[step]
    return value


@cache
def before() -> dict[str, Any]:
    return bundled(SPEC)


@cache
def loaded(path: Path, _text: str) -> Any:
    return load_yaml(path)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    left = shutil.ignore_patterns("tests", "generator", "examples", ".hypothesis")
    shutil.copytree(SPEC, tmp_path / "spec", ignore=left)
    monkeypatch.setattr("generator.bundle.load_yaml", lambda path: copy.deepcopy(loaded(path, path.read_text())))
    return tmp_path


def applied(patch: str, folder: Path) -> dict[str, Any]:
    subprocess.run(["git", "apply", "-"], input=patch, cwd=folder, text=True, check=True)
    return bundled(folder / "spec")


def allows(document: dict[str, Any], exchange: Exchange) -> bool:
    """Whether a bundle allows an answer, and the output of the task in it."""
    parts = [(bundle.component_of(exchange.operation, exchange.part), exchange.answer)]
    task = bundle.fields(bundle.fields(exchange.answer).get("data"))
    if isinstance(task.get("output"), dict):
        parts += [(name, task["output"]) for name in bundle.outputs_of(task.get("model"), task.get("task_type"))[:1]]
    components = document["components"]
    return all(
        Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components}).is_valid(value)
        for name, value in parts
    )


# An answer, and a part of the entries that the patch adds to observed.yaml.
CASES: dict[str, tuple[Exchange, list[str]]] = {
    "another type": (
        answered(SWAP, "data", "meta", "usage", "consume", value="12.5"),
        ["type: [integer, string]", "x-source: [docs, credit-record, observed]"],
    ),
    "fraction": (answered(SWAP, "code", value=200.5), ["type: number"]),
    "list": (answered(SWAP, "data", "output", "image_url", value=["https://a.test/a.png"]), ["items: {}"]),
    "null for a component": (
        answered(SWAP, "data", "config", value=None),
        ["schemas/TaskConfig'}"],
    ),
    "null in a map": (
        answered("account.active-tasks.200", "data", value={"a private group": None}),
        ["{type: 'null'}"],
    ),
    "null in a list": (answered(KLING, "data", "output", "works", 0, value=None), ["{type: 'null'}"]),
    "no branch": (answered(SWAP, "data", "error", value="no face"), ["{type: string}"]),
    "inside a branch": (answered(SWAP, "data", "error", "code", value="E1"), ["type: [integer, string]"]),
    "missing": (answered(SWAP, "data", "task_id", absent=True), ["required: [status]"]),
    "missing and alone": (answered(UPLOAD, "data", absent=True), ["required: null"]),
    "too short": (answered(UPLOAD, "data", "url", value=""), ["minLength: null"]),
    "refusal": (answered(REFUSED, "data", value="a.exe"), ["{type: string}"]),
    "new field": (
        answered(SWAP, "data", "meta", "queue_position", value=17),
        ["type: integer", "x-source: [observed]"],
    ),
    "new file": (
        answered(SWAP, "data", "output", "preview", value="https://cdn.test/p/a.webp?sign=abc"),
        ["x-media: {kind: image}"],
    ),
    "new object": (
        answered(SWAP, "data", "output", "timings", value={"queue_ms": 12, "source": "https://a.test/a.png"}),
        ["additionalProperties: true"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_body_ends_in_a_patch_that_makes_the_spec_allow_it(name: str, copied: Path) -> None:
    exchange, lines = CASES[name]
    found = differences([exchange])
    kind = Kind.NEW_FIELD if name.startswith("new ") else Kind.BROKEN

    patch = proposal(found)
    after = applied(patch, copied)

    assert {one.kind for one in found} == {kind}
    assert allows(before(), exchange) == (kind is Kind.NEW_FIELD)
    assert allows(after, exchange)
    assert [line for line in lines if line not in patch] == []
    assert verdict(changed(before(), after)) == ("minor" if kind is Kind.NEW_FIELD else "major")
    assert differences_left(after, exchange) == []


def differences_left(document: dict[str, Any], exchange: Exchange) -> list[object]:
    component, schemas = bundle.component_of(exchange.operation, exchange.part), document["components"]["schemas"]
    return list(findings(exchange.answer, schema_of(component, exchange.answer, schemas), schemas))


def test_everything_at_once_is_one_patch_that_the_lint_takes(copied: Path) -> None:
    shutil.copytree(SPEC / "examples", copied / "spec/examples")
    found = differences([exchange for exchange, *_ in CASES.values()])
    known = len(ledger_of(copied))
    document = applied(proposal(found), copied)
    added = {name: one for name, one in document["components"]["examples"].items() if "observed-" in name}

    assert faults(document) == []
    assert len(added) == len({json.dumps(one.evidence) for one in found})
    assert all(one["x-source"] == ["observed"] and one["x-evidence"] == "recorded" for one in added.values())
    assert document["x-sources"]["observed"]["evidence"] == "recorded"
    told = ledger_of(copied)[known:]
    assert len(told) == sum(one.kind is Kind.BROKEN for one in found)
    for entry in told:
        value = seen_value(entry, document)
        assert not accepts(entry["documented"]["schema"], value, document), entry
        assert accepts(at_pointer(document, entry["ours"]), value, document), entry
        assert entry["documented"]["source"] in document["x-sources"].keys() - {"observed"}, entry


def ledger_of(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = load_yaml(folder / "spec/drift.yaml")
    return entries


@pytest.mark.parametrize(
    ("method", "path", "wrong", "right", "component"),
    [
        (
            "POST",
            "/mj/v2/fetch",
            {"task_result": {"image_url": 17}},
            {"task_result": {"image_url": None, "error_messages": []}},
            "LegacyMidjourneyOutput/properties/image_url",
        ),
        (
            "GET",
            "/api/kling/v1/video/x",
            {"data": {"output": {"video_url": 17}}},
            {"data": {"output": None}},
            "LegacyKlingOutput/properties/video_url",
        ),
    ],
    ids=["midjourney", "kling"],
)
def test_output_of_a_task_before_today_is_held_to_its_component(
    method: str, path: str, wrong: Any, right: Any, component: str, copied: Path
) -> None:
    fits, exchange = (Exchange(method, path, b"", 200, json.dumps(body).encode()) for body in (right, wrong))
    found = differences([fits, exchange])

    after = applied(proposal(found), copied)

    assert {one.kind for one in found} == {Kind.BROKEN}
    assert f"#/components/schemas/{component}" in [one.place for one in found]
    assert after["components"]["schemas"][component.partition("/")[0]]["properties"][component.rpartition("/")[2]][
        "type"
    ] == ["string", "null", "integer"]
    assert differences_left(after, exchange) == []


# --- no false alarm


def test_documented_bodies_are_no_difference() -> None:
    exchanges = [
        answer_of(example, example["value"]) for example in [*examples("200").values(), *examples("default").values()]
    ]
    told = [
        (one["x-operation"], one["value"])
        for one in examples("request").values()
        if one["x-operation"].startswith("receive_")
    ]

    assert differences(exchanges, told) == []
    assert proposal([]) == ""


def test_what_has_no_schema_is_told_and_nothing_is_proposed() -> None:
    page = Exchange("GET", "/api/v1/task/x", b"", 502, b"<html>", "text/html; charset=x")
    stream = Exchange("POST", "/v1/chat/completions", b'{"stream": true}', 200, b"data: [DONE]", "text/event-stream")
    file = Exchange("GET", "/files/a.png", b"", 200, b"\x89PNG", "image/png")
    deep = Exchange("GET", "/account/info", b"", 200, b'{"data":' * 99_999)
    (one, other) = differences([page, page, stream, file, deep])

    assert (one.kind, one.operation, one.came) == (
        Kind.UNDOCUMENTED,
        "get_account_info",
        "something else, as application/json",
    )
    assert (other.operation, other.came, other.count) == ("get_task", "something else, as text/html", 2)
    assert proposal([one, other]) == ""


def test_difference_is_told_once_however_often_it_came() -> None:
    exchange = answered(SWAP, "data", "meta", "usage", "consume", value="12.5")
    (found,) = differences([exchange, exchange, answered(KLING, "data", "meta", value={"usage": {"consume": "a"}})])

    assert (found.operation, found.part, found.family, found.count) == ("get_task", "200", "faceswap", 3)
    assert (found.where, found.place) == (
        "/data/meta/usage/consume",
        "#/components/schemas/TaskUsage/properties/consume",
    )
    assert (found.says, found.came) == ('type: "integer"', '"1"')


def test_notification_is_held_to_the_spec(copied: Path) -> None:
    body = {"timestamp": "soon", "data": examples()[SWAP]["value"]["data"]}
    document = applied(proposal(differences([], [("receive_task", body)])), copied)
    (name,) = [name for name in document["components"]["examples"] if "observed-" in name]

    assert name == "faceswap.observed-timestamp.request"


# --- any wrong answer


def wrong_answers(number: int) -> list[tuple[str, Exchange]]:
    documented = [*examples("200").items(), *examples("default").items()]
    made = [
        (f"{name} {path} {operator}", example, body)
        for name, example in random.Random(7).sample(documented, 20)
        for path, operator, body in mutation.changes(example["value"])
    ]
    return [(name, answer_of(example, body)) for name, example, body in random.Random(7).sample(made, number)]


def test_any_wrong_answer_ends_in_a_patch_or_says_why_not() -> None:
    without: list[str] = []
    wrong = 0
    for name, exchange in wrong_answers(120):
        found = differences([exchange])
        is_wrong = not allows(bundle.document(), exchange)
        assert found or not is_wrong, name
        wrong += is_wrong
        if found and not proposal(found):
            without.append(f"{name}: {[str(one) for one in found]}")

    assert without == []
    assert wrong > 50


def test_spec_folder_is_that_of_the_checkout() -> None:
    assert spec_folder() == SPEC
