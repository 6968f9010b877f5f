"""The cross_check of `make cross_check` are believed only where they were heard, and their dissent is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts import cross_check, mock_server

TASK = {"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": {"target_image": "a", "swap_image": "b"}}


def event(path: str, *faults: str, body: Any = None) -> dict[str, Any]:
    place = path.replace("/least/", "/{case}/").replace("/seed.enum/", "/{case}/")
    told = [{"code": "E3007", "requestPath": "body", "message": fault} for fault in faults]
    return {"request": {"method": "POST", "path": path, "pathPattern": place, "body": body}, "diagnostics": told}


def test_witness_that_was_not_heard_is_no_agreement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mock_server, "HOME", tmp_path)
    monkeypatch.setattr("shutil.which", lambda _: None)
    for bodies in ("of_examples", "of_scenarios", "of_mutants"):
        monkeypatch.setattr(cross_check, bodies, list)

    assert cross_check.main() == 2
    said = capsys.readouterr()
    assert "NOT RUN" in said.out
    assert "THE MOCK SERVER WAS NOT HEARD" in said.err
    assert "npm" in said.err


def test_dissent_of_the_validator_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [("right", "TaskRequest", TASK), ("wrong", "TaskRequest", {**TASK, "input": {"target_image": "a"}})]
    assert cross_check.compared("", bodies).failures == []

    monkeypatch.setattr("unitask_contract.bundle.allows", lambda *_: True)
    (failure,) = cross_check.compared("", bodies).failures
    assert failure == "wrong, as FaceSwapInput: allowed by jsonschema-rs, refused by jsonschema"


def test_dissent_of_the_mock_server_is_a_failure() -> None:
    right, wrong = cross_check.Line(""), cross_check.Line("", count=2)
    cross_check.judged_right(right, [mock_server.seen(event("/typed/FaceSwap/least/api/v1/task", "Missing: x"))])
    cross_check.judged_wrong(wrong, [mock_server.seen(event("/typed/FaceSwap/seed.enum/api/v1/task", body=TASK))])

    assert right.failures == ["POST /typed/FaceSwap/least/api/v1/task: E3007 body: Missing: x"]
    assert wrong.failures[0] == "2 were sent, and 1 arrived"
    assert wrong.failures[1].startswith("/typed/FaceSwap/seed.enum/api/v1/task is right to steady")


def test_operation_that_was_not_asked_for_is_a_failure() -> None:
    asked = [
        mock_server.seen(event(path)) for path in ("/typed/FaceSwap/least/api/v1/task", "/api/image_toolkit/v2/create")
    ]
    line = cross_check.asked_for(asked)

    assert "get_task was never asked for" in line.failures
    assert "create_task was never asked for" not in line.failures
    assert line.failures[-1] == "legacy_create_image_toolkit was asked for, and is listed as not ours"
    assert any("legacy_fetch_image_toolkit" in reason for reason in line.otherwise)
