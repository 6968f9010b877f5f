"""The reader of openapi.json that ships with the generated client."""

from typing import Any

import pytest
from unitask_api import contract


def test_task_type_has_the_values_of_the_spec() -> None:
    (written,) = (entry for entry in contract.document()["x-tasks"] if entry["name"] == "FaceSwap")
    read = contract.task_types()["FaceSwap"]

    assert (read.name, read.family, read.protocol, read.create) == ("FaceSwap", "faceswap", "unified", "create_task")
    assert (read.model, read.task_type) == ("Qubico/image-toolkit", "face-swap")
    assert (read.input, read.output) == (written["input"], written["output"])
    assert (read.price_usd, read.price_per, read.typical_seconds) == (0.01, "generation", 8.0)
    assert read.price == {key: value for key, value in written["price"].items() if key != "x-source"}
    assert read.docs == f"{written['docs']['page']} ({written['docs']['date']})"
    assert read.media == {"target_image": "image", "swap_image": "image"}


def test_task_type_has_its_protocol_and_match_and_perhaps_a_price() -> None:
    types = contract.task_types()
    swap, kling = types["LegacyFaceSwap"], types["Kling3Video"]
    unpriced = next(types[entry["name"]] for entry in contract.document()["x-tasks"] if not entry.get("price"))

    assert (swap.protocol, swap.create, swap.match) == ("face_swap_v1", "legacy_create_face_swap", {})
    assert kling.match == {"version": "3.0"}
    assert (unpriced.price, unpriced.price_usd, unpriced.price_per) == (None, None, None)


def test_match_of_the_input_chooses_between_task_types_of_one_name() -> None:
    names = "kling", "video_generation"

    assert contract.find(*names, {"version": "3.0"}) is contract.task_types()["Kling3Video"]
    for given in ({"version": 3.0}, {}, None, "version"):
        assert contract.find(*names, given) is contract.task_types()["KlingVideo"]
    assert [one.name for one in contract.named(*names)] == ["KlingVideo", "Kling3Video"]


@pytest.mark.parametrize("names", [("kling", "dance"), ("dance", "video_generation"), (["kling"], {}), (None, None)])
def test_unknown_names_find_nothing(names: tuple[Any, Any]) -> None:
    assert contract.find(*names) is None
    assert contract.named(*names) == ()


@pytest.mark.parametrize(
    ("given", "chosen"),
    [({"a": True, "b": 2}, 2), ({"a": True}, 1), ({"a": 1}, 0), ({"b": 2}, 0), ({"a": True, "b": 2.0}, 2)],
    ids=str,
)
def test_match_with_most_fields_wins_and_true_is_not_1_and_null_is_not_absent(given: Any, chosen: int) -> None:
    matches: list[dict[str, Any]] = [{}, {"a": True}, {"a": True, "b": 2}, {"c": None}]
    entries = [{"model": "m", "task_type": "t", "match": match} for match in matches]

    assert contract.choose(entries, "m", "t", given) is entries[chosen]


def test_operation_has_the_values_of_the_spec() -> None:
    get_task, edit, upload = map(contract.operation, ("get_task", "edit_image", "upload_file"))

    assert (get_task.method, get_task.path, get_task.tag) == ("GET", "/api/v1/task/{task_id}", "task")
    assert get_task.components == {"200": "TaskEnvelope", "default": "ErrorEnvelope"}
    assert [parameter["name"] for parameter in get_task.parameters] == ["task_id"]
    assert (get_task.bearer, edit.bearer) == (False, True)
    assert (get_task.server, upload.server) == (None, "https://upload.theapi.app")
    assert upload.components["request"] == "UploadRequest"
    assert contract.operation("receive_task") is contract.webhooks()["receive_task"]
    assert "receive_task" not in contract.operations()


def test_unknown_operation_is_named() -> None:
    with pytest.raises(LookupError, match="the contract has no operation dance"):
        contract.operation("dance")


def test_nullable_reference_is_resolved() -> None:
    reference = {"$ref": "#/components/schemas/TaskStatus"}

    for rule in (reference, {"anyOf": [{"type": "null"}, reference]}):
        assert contract.resolve(rule) is contract.component("TaskStatus")
    assert contract.resolve({"type": "string"}) == {"type": "string"}
    assert contract.field_rule("FaceSwapInput", "dance") == {}
