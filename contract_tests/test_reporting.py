"""The report of `unitask contract`: what cannot be written loses no result, and what is shown is the result."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from unitask.cli import main
from unitask_contract import command, runner
from unitask_contract.report import Report, text

Captured = pytest.CaptureFixture[str]
QUICK = ("contract", "--checks", "keys")


def nothing_is_asked(*_: Any, **__: Any) -> Any:
    raise AssertionError("something was asked")


@pytest.mark.parametrize("place", ["nowhere/out.html", "a-folder.html", "read-only/out.json", "/dev/full/x.json"])
def test_report_that_cannot_be_written_is_2_before_anything_is_asked(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a-folder.html").mkdir()
    Path("read-only").mkdir()
    opened = Path.open

    def refused(path: Path, *more: Any, **named: Any) -> Any:  # root may write to any folder
        if path.parent.name == "read-only":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *more, **named)

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(command, "_of_provider", nothing_is_asked)

    assert main([*QUICK, "--report", place]) == 2
    assert f"--report {place}" in capsys.readouterr().err


@pytest.mark.parametrize("outcome", [runner.Outcome.KEPT, runner.Outcome.BROKEN])
def test_report_that_cannot_be_written_at_the_end_loses_no_result(
    outcome: runner.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    full, fine = tmp_path / "full.json", tmp_path / "fine.json"
    result = runner.Result(runner.chosen(["echo"])[0], "general", "", outcome, "seen")
    write = Path.write_text

    def refused(path: Path, *more: Any, **named: Any) -> int:
        if path == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, *more, **named)

    monkeypatch.setattr(Path, "write_text", refused)
    monkeypatch.setattr(command, "_of_provider", lambda _: Report("here", 1, [result]))

    assert main([*QUICK, f"--report={full}", f"--report={fine}"]) == int(outcome is runner.Outcome.BROKEN)
    said = capsys.readouterr()
    assert f"--report {full} was not written" in said.err
    assert said.out.splitlines()[-1].startswith("contract ")
    assert fine.exists()


def test_place_that_was_tried_is_left_as_it_was(tmp_path: Path) -> None:
    there, new = tmp_path / "there.json", tmp_path / "new.json"
    there.write_text("before")
    for place in (there, new):
        command._check_place(place)

    assert there.read_text() == "before"
    assert not new.exists()


def test_characters_that_a_file_or_a_terminal_cannot_hold_lose_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The half of a character, another encoding, and what would control the terminal are shown by their numbers."""
    detail = "half \ud83d, \u7d50\u679c, \x1b[2J\x9b2J"
    result = runner.Result(runner.chosen(["echo"])[0], "general", "", runner.Outcome.BROKEN, detail)
    monkeypatch.setattr(command, "_of_provider", lambda _: Report("here", 1, [result]))
    places = [tmp_path / f"out.{ending}" for ending in ("html", "json", "xml")]

    class Latin:
        encoding = "latin-1"
        written = ""

        def write(self, text: str) -> int:
            self.written += text.encode("latin-1").decode("latin-1")
            return len(text)

        def flush(self) -> None: ...

    terminal = Latin()
    monkeypatch.setattr("sys.stdout", terminal)

    assert main([*QUICK, *(f"--report={place}" for place in places)]) == 1
    assert "half \\ud83d, \\u7d50\\u679c, \\x1b[2J\\x9b2J" in terminal.written
    assert all(place.read_text() for place in places)


@pytest.mark.parametrize("name", ["differences", "proposal"])
def test_fault_of_ours_after_the_checks_loses_no_result(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(command, name, broken)

    assert main([*QUICK]) == 2
    said = capsys.readouterr()
    assert "a bug of unitask" in said.err
    assert said.out.splitlines()[-1] == "contract not run whole: 1 kept, interrupted"


def test_patch_is_counted_and_not_printed() -> None:
    patch = "diff --git a/x b/x\n--- a/x\n+++ b/x\ndiff --git a/y b/y\n+z\n"
    said = text(Report("here", 1, patch=patch)).splitlines()

    assert said[-3] == "a change of the spec is proposed: 5 lines in 2 files (--report FILE.patch writes it)"
    assert not [line for line in said if line.startswith("+")]
