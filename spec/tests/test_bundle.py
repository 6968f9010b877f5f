"""Merging the files of the spec into one document."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from generator.bundle import SpecError, at, bundle, load_yaml, operations, task_of
from jsonschema_rs import Draft202012Validator
from openapi_pydantic import OpenAPI

SPEC = Path(__file__).resolve().parents[1]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the spec to change."""
    return Path(shutil.copytree(SPEC, tmp_path / "spec", ignore=shutil.ignore_patterns("tests", "generator")))


def test_bundle_holds_every_operation_and_every_task_type(document: dict[str, Any]) -> None:
    names = {operation["operationId"] for _, _, operation in operations(document)}
    families = {path.stem: load_yaml(path)["tasks"] for path in sorted((SPEC / "tasks").glob("*.yaml"))}
    entries = [(task["name"], family) for family, tasks in families.items() for task in tasks]

    assert names >= {"create_task", "get_task", "cancel_task", "cancel_tasks"}
    assert [(task["name"], task["family"]) for task in document["x-tasks"]] == entries
    assert ("FaceSwap", "faceswap") in entries


def test_left_out_is_what_the_contract_does_not_have_with_a_reason(document: dict[str, Any]) -> None:
    left_out = load_yaml(SPEC / "left-out.yaml")
    pairs = [(entry["model"], entry["task_type"]) for entry in left_out if "model" in entry]
    served = {f"{method.upper()} {path}" for path, method, _ in operations(document)}

    assert len(set(pairs)) == len(pairs)
    assert not {(task["model"], task["task_type"]) for task in document["x-tasks"]} & set(pairs)
    assert not served & {entry.get("operation") for entry in left_out}
    assert not [entry["body"] for entry in left_out if "body" in entry and _is_taken(document, entry["body"])]
    assert all(len(entry["why"]) > 20 for entry in left_out)


def _is_taken(document: dict[str, Any], body: dict[str, Any]) -> bool:
    """Return whether a class takes the body of a request."""
    task, schemas = task_of(document, body), document["components"]["schemas"]
    if task is None or not body.keys() <= schemas["TaskRequest"]["properties"].keys():
        return False
    return Draft202012Validator({**schemas[task["input"]], "components": {"schemas": schemas}}).is_valid(body["input"])


def test_bundle_attaches_each_example_to_its_operation(document: dict[str, Any]) -> None:
    sent = at(document, "#/paths/~1api~1v1~1task/post/requestBody/content/application~1json")
    refused = at(document, "#/components/responses/Refusal/content/application~1json")

    assert "faceswap.face-swap.request" in sent["examples"]
    assert "core.no-credit.create.500" in refused["examples"]


def test_independent_reader_round_trips_the_bundle(document: dict[str, Any]) -> None:
    read = OpenAPI.model_validate(document)

    assert json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)) == document  # dates are text, too


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("schemas/zz.yaml", "Task: {type: object}", r"zz\.yaml.*'Task' is already defined"),
        ("observed.yaml", "- {place: '#/components/schemas/Nothing', merge: {}}", "Nothing"),
        ("confirmed.yaml", "- {source: docs, exchanges: 1, places: {'#/x-tasks/Nothing': 1}}", "Nothing"),
        ("examples/core/a.json", '{"x-operation": "make_task", "x-part": "200"}', "unknown operation 'make_task'"),
    ],
)
def test_file_that_does_not_fit_the_others_is_refused(copied: Path, file: str, content: str, message: str) -> None:
    (copied / file).write_text(content)

    with pytest.raises(SpecError, match=message):
        bundle(copied)


def test_observed_changes_are_merged_into_their_component_alone(copied: Path) -> None:
    place = "#/components/schemas/Task/properties/status"
    before = bundle(copied)
    (copied / "observed.yaml").write_text(f"- {{place: '{place}', merge: {{$ref: null, type: integer}}}}\n")
    at(before, place)["type"] = "integer"
    del at(before, place)["$ref"]

    assert bundle(copied) == before


def test_texts_are_limited_only_where_a_source_says_so(document: dict[str, Any]) -> None:
    found = {
        f"{name}.{field}": rule["maxLength"]
        for name, schema in document["components"]["schemas"].items()
        for field, rule in schema.get("properties", {}).items()
        if "maxLength" in rule
    }

    assert found == {
        "HailuoVideoInput.prompt": 2000,
        "KlingExtendInput.negative_prompt": 2500,
        "KlingExtendInput.prompt": 2500,
        "KlingVideoInput.negative_prompt": 2500,
        "KlingVideoInput.prompt": 2500,
        "Seedance25Input.prompt": 4000,
        "SunoMusicInput.negative_tags": 200,
        "SunoMusicInput.prompt": 3000,
        "SunoMusicInput.tags": 200,
        "SunoMusicInput.title": 80,
        "TtsZeroShotInput.gen_text": 10000,
        "UploadRequest.file_name": 128,
    }
