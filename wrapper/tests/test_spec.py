"""The catalogue as the wrapper reads it."""

from __future__ import annotations

import pytest
from unitask._model import spec


def test_entry_of_the_catalogue_holds_what_the_spec_says() -> None:
    (written,) = (entry for entry in spec.bundle()["x-tasks"] if entry["name"] == "FaceSwap")
    read = spec.task_types()["FaceSwap"]

    assert (read.name, read.family) == ("FaceSwap", "faceswap")
    assert (read.model, read.task_type) == ("Qubico/image-toolkit", "face-swap")
    assert (read.input, read.output) == (written["input"], written["output"])
    assert (read.price_usd, read.price_per, read.typical_seconds) == (0.01, "generation", 8.0)
    assert read.price == {key: value for key, value in written["price"].items() if key != "x-source"}
    assert read.docs == f"{written['docs']['page']} ({written['docs']['date']})"
    assert (read.protocol, read.create) == ("unified", "create_task")


def test_entry_is_found_by_the_fields_of_the_input_that_it_fixes() -> None:
    found = [spec.find_task_type("kling", "video_generation", {"version": each}) for each in ("3.0", "2.6", None, 3.0)]

    assert [entry.name for entry in found if entry] == ["Kling3Video", *["KlingVideo"] * 3]
    assert spec.find_task_type("kling", "dance") is None


def test_missing_operation_is_named() -> None:
    assert spec.operation("create_task") == ("POST", "/api/v1/task")
    with pytest.raises(LookupError, match="the spec has no operation 'dance'"):
        spec.operation("dance")
