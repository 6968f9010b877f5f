"""`make cross-check` reports each difference between the mock server and us, and never passes without the server."""

from pathlib import Path
from typing import Any

import pytest

from scripts import cross_check

VALID, BROKEN = "/typed/FaceSwap/least/api/v1/task", "/typed/FaceSwap/seed.enum/api/v1/task"


def event(path: str, *faults: str) -> dict[str, Any]:
    diagnostics = [{"requestPath": "body", "message": fault} for fault in faults]
    return {"request": {"method": "POST", "path": path}, "diagnostics": diagnostics}


def test_run_without_the_server_is_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cross_check, "HOME", tmp_path)
    monkeypatch.setattr("shutil.which", lambda _: None)

    assert cross_check.main() == 2


def test_each_difference_is_reported() -> None:
    refused, taken = event(BROKEN, "no"), event(BROKEN)

    assert list(cross_check.differences([event(VALID), refused], 1)) == []
    for seen in ([event(VALID, "Missing: x"), refused], [event(VALID), taken], [event(VALID)]):
        assert len(list(cross_check.differences(seen, 1))) == 1
