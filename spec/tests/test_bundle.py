"""Merging the files of the spec into one document."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from generator.bundle import SpecError, at, bundle, load_yaml, operations, task_of
from openapi_pydantic import OpenAPI

SPEC = Path(__file__).resolve().parents[1]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the spec to change."""
    return Path(shutil.copytree(SPEC, tmp_path / "spec", ignore=shutil.ignore_patterns("tests", "generator")))


def test_bundle_holds_every_operation_and_every_task_type(document: dict[str, Any]) -> None:
    """The operations on tasks are in the document, and each entry of each file of task types."""
    names = {operation["operationId"] for _, _, operation in operations(document)}
    entries = [
        (task["name"], path.stem)
        for path in sorted((SPEC / "tasks").glob("*.yaml"))
        for task in load_yaml(path)["tasks"]
    ]

    assert names >= {"create_task", "get_task", "cancel_task", "cancel_tasks"}
    assert [(task["name"], task["family"]) for task in document["x-tasks"]] == entries
    assert ("FaceSwap", "faceswap") in entries


def test_what_is_left_out_is_not_in_the_catalogue_and_has_a_reason(document: dict[str, Any]) -> None:
    """Each pair of spec/left-out.yaml is named once, is no entry of the catalogue, and says why."""
    left_out = load_yaml(SPEC / "left-out.yaml")
    pairs = [(entry["model"], entry["task_type"]) for entry in left_out]

    assert len(set(pairs)) == len(pairs)
    assert not {(task["model"], task["task_type"]) for task in document["x-tasks"]} & set(pairs)
    assert all(len(entry["why"]) > 20 for entry in left_out)


@pytest.mark.parametrize(
    ("given", "name"), [({"version": "3.0"}, "Kling3Video"), ({"version": "2.1"}, "KlingVideo"), (None, "KlingVideo")]
)
def test_task_is_found_by_what_its_input_matches(document: dict[str, Any], given: Any, name: str) -> None:
    """Of two entries with one name on the wire, the one whose `match` fits; the plain one when the echo is empty."""
    found = task_of(document, {"model": "kling", "task_type": "video_generation", "input": given})

    assert found
    assert found["name"] == name
    assert task_of(document, {"model": "kling", "task_type": "nothing"}) is None


def test_bundle_attaches_each_example_to_its_operation(document: dict[str, Any]) -> None:
    """A body stands beside the request or answer that it is an example of."""
    content = at(document, "#/paths/~1api~1v1~1task/post/requestBody/content/application~1json")

    assert "faceswap.face-swap.request" in content["examples"]
    assert (
        "core.no-credit.create.500"
        in at(document, "#/components/responses/Refusal")["content"]["application/json"]["examples"]
    )


def test_bundle_goes_round_through_an_independent_reader(document: dict[str, Any]) -> None:
    """Another implementation of OpenAPI reads the document and writes it again, and nothing is different."""
    read = OpenAPI.model_validate(document)

    assert json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)) == document


def test_bundle_keeps_dates_as_text(tmp_path: Path) -> None:
    """YAML is read with JSON's types only, so that an example stays what it is on the wire."""
    (tmp_path / "x.yaml").write_text("day: 2025-04-03\n")

    assert load_yaml(tmp_path / "x.yaml") == {"day": "2025-04-03"}


def test_bundle_refuses_a_name_that_two_files_define(copied: Path) -> None:
    """Two schemas of one name are an error that names the second file."""
    (copied / "schemas" / "zz.yaml").write_text("Task: {type: object}\n")

    with pytest.raises(SpecError, match=r"zz\.yaml.*'Task' is already defined"):
        bundle(copied)


def test_bundle_refuses_an_example_of_no_operation(copied: Path) -> None:
    """An example that names an unknown operation is an error."""
    path = copied / "examples" / "core" / "webhook.request.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "x-operation": "make_task"}))

    with pytest.raises(SpecError, match="no operation 'make_task'"):
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
