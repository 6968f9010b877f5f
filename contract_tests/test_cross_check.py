"""`make cross-check` never passes without the mock server, and reports what the server sees otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts import cross_check


def event(path: str, *faults: str) -> dict[str, Any]:
    diagnostics = [{"requestPath": "body", "message": fault} for fault in faults]
    return {"request": {"method": "POST", "path": path}, "diagnostics": diagnostics}


def test_run_without_the_server_is_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cross_check, "HOME", tmp_path)
    monkeypatch.setattr("shutil.which", lambda _: None)

    assert cross_check.main() == 2


def test_valid_request_that_the_server_rejects_and_lost_requests_are_reported() -> None:
    found = list(cross_check.differences([event("/typed/FaceSwap/least/api/v1/task", "Missing: x")], 1))

    assert "is valid, and the server rejects it" in found[0]
    assert any("1 invalid requests were sent, and 0 arrived" in one for one in found)
    assert any("no call of get_task arrived" in one for one in found)
