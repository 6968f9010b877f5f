"""Merging the files of the spec into one document."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from generator.bundle import SpecError, at, bundle, load_yaml, operations
from openapi_pydantic import OpenAPI

SPEC = Path(__file__).resolve().parents[1]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the spec to change."""
    return Path(shutil.copytree(SPEC, tmp_path / "spec", ignore=shutil.ignore_patterns("tests", "generator")))


def test_bundle_holds_every_operation_and_every_task_type(document: dict[str, Any]) -> None:
    names = {operation["operationId"] for _, _, operation in operations(document)}
    entries = [
        (task["name"], path.stem)
        for path in sorted((SPEC / "tasks").glob("*.yaml"))
        for task in load_yaml(path)["tasks"]
    ]

    assert names >= {"create_task", "get_task", "cancel_task", "cancel_tasks"}
    assert [(task["name"], task["family"]) for task in document["x-tasks"]] == entries
    assert ("FaceSwap", "faceswap") in entries


def test_left_out_task_types_are_not_in_the_catalogue_and_have_a_reason(document: dict[str, Any]) -> None:
    left_out = load_yaml(SPEC / "left-out.yaml")
    pairs = [(entry["model"], entry["task_type"]) for entry in left_out]

    assert len(set(pairs)) == len(pairs)
    assert not {(task["model"], task["task_type"]) for task in document["x-tasks"]} & set(pairs)
    assert all(len(entry["why"]) > 20 for entry in left_out)


def test_bundle_attaches_each_example_to_its_operation(document: dict[str, Any]) -> None:
    content = at(document, "#/paths/~1api~1v1~1task/post/requestBody/content/application~1json")

    assert "faceswap.face-swap.request" in content["examples"]
    assert (
        "core.no-credit.create.500"
        in at(document, "#/components/responses/Refusal")["content"]["application/json"]["examples"]
    )


def test_independent_reader_round_trips_the_bundle(document: dict[str, Any]) -> None:
    read = OpenAPI.model_validate(document)

    assert json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)) == document


def test_bundle_keeps_dates_as_text(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("day: 2025-04-03\n")

    assert load_yaml(tmp_path / "x.yaml") == {"day": "2025-04-03"}


def test_bundle_refuses_a_name_that_two_files_define(copied: Path) -> None:
    (copied / "schemas" / "zz.yaml").write_text("Task: {type: object}\n")

    with pytest.raises(SpecError, match=r"zz\.yaml.*'Task' is already defined"):
        bundle(copied)


def test_observed_changes_are_merged_into_their_component_alone(copied: Path) -> None:
    place = "#/components/schemas/Task/properties/status"
    before = bundle(copied)
    (copied / "observed.yaml").write_text(f"- {{place: '{place}', merge: {{$ref: null, type: integer}}}}\n")
    at(before, place)["type"] = "integer"
    del at(before, place)["$ref"]

    assert bundle(copied) == before
    (copied / "observed.yaml").write_text(f"- {{place: '{place}/nowhere', merge: {{}}}}\n")
    with pytest.raises(SpecError, match="nowhere"):
        bundle(copied)


def test_bundle_refuses_an_example_of_an_unknown_operation(copied: Path) -> None:
    path = copied / "examples" / "core" / "webhook.request.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "x-operation": "make_task"}))

    with pytest.raises(SpecError, match="unknown operation 'make_task'"):
        bundle(copied)


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
