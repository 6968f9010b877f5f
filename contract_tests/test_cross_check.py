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
        ([event(BROKEN, "no")], "no call of create_task arrived"),
    ],
    ids=["rejected", "accepted", "lost", "not called"],
)
def test_each_difference_is_reported(seen: list[dict[str, Any]], expected: str) -> None:
    agreed = list(cross_check.differences([event(VALID), event(BROKEN, "no")], 1))
    found = list(cross_check.differences(seen, 1))

    assert next(one for one in found if one not in agreed).startswith(expected)
    assert "no call of get_task arrived" in agreed
