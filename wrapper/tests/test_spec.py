"""The catalogue as the wrapper reads it."""

from __future__ import annotations

from typing import Any

import pytest
from unitask._core import spec


def test_entry_of_the_catalogue_has_what_the_spec_says() -> None:
    (written,) = (entry for entry in spec.bundle()["x-tasks"] if entry["name"] == "FaceSwap")
    read = spec.task_types()["FaceSwap"]

    assert (read.name, read.family) == ("FaceSwap", "faceswap")
    assert (read.model, read.task_type) == ("Qubico/image-toolkit", "face-swap")
    assert (read.input, read.output) == (written["input"], written["output"])
    assert (read.price_usd, read.price_per) == (0.01, "generation")
    assert read.price == {key: value for key, value in written["price"].items() if key != "x-source"}
    assert read.typical_seconds == 8.0
    assert read.docs == f"{written['docs']['page']} ({written['docs']['date']})"
    assert (read.protocol, read.create) == ("unified", "create_task")


def test_entry_is_found_by_what_it_fixes_of_the_input() -> None:
    def find(given: dict[str, Any]) -> str:
        entry = spec.find_task_type("kling", "video_generation", given)
        return entry.name if entry else ""

    assert [find({"version": version}) for version in ("3.0", "2.6", None, 3.0)] == ["Kling3Video", *["KlingVideo"] * 3]
    assert find({}) == "KlingVideo"
    assert spec.find_task_type("kling", "dance") is None


def test_operation_that_there_is_not_is_named() -> None:
    assert spec.operation("create_task") == ("POST", "/api/v1/task")
    with pytest.raises(LookupError, match="the spec has no operation 'dance'"):
        spec.operation("dance")
