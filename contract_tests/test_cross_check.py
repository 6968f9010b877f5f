"""`make cross-check` reports each difference between the mock server and us, and never passes without the server."""

from __future__ import annotations

from typing import Any

import pytest

from scripts import cross_check

VALID, BROKEN = "/typed/FaceSwap/least/api/v1/task", "/typed/FaceSwap/seed.enum/api/v1/task"


def event(path: str, *faults: str) -> dict[str, Any]:
    diagnostics = [{"requestPath": "body", "message": fault} for fault in faults]
    return {"request": {"method": "POST", "path": path}, "diagnostics": diagnostics}


def test_run_without_the_server_is_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any) -> None:
    monkeypatch.setattr(cross_check, "HOME", tmp_path)
    monkeypatch.setattr("shutil.which", lambda _: None)

    assert cross_check.main() == 2
    assert "npm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([event(VALID, "Missing: x"), event(BROKEN, "no")], f"POST {VALID} is valid, and the server rejects it"),
        ([event(VALID), event(BROKEN)], f"{BROKEN} breaks a limit, and the server accepts it"),
        ([event(VALID)], "1 invalid requests were sent, and 0 arrived"),
    ],
    ids=["rejected", "accepted", "lost"],
)
def test_each_difference_is_reported(seen: list[dict[str, Any]], expected: str) -> None:
    (found,) = cross_check.differences(seen, 1)

    assert found.startswith(expected)
    assert list(cross_check.differences([event(VALID), event(BROKEN, "no")], 1)) == []
