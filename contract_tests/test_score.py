"""A gate of `make score` takes its figure from a run, never from a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.core_mutants import measured, record
from scripts.score import Measure, core


def test_result_of_mutants_is_that_of_the_core_as_it_is(tmp_path: Path) -> None:
    code, stats, result = tmp_path / "core", tmp_path / "stats.json", tmp_path / "out" / "mutants.json"
    code.mkdir()
    (code / "a.py").write_text("x = 1\n")
    stats.write_text(json.dumps({"killed": 90, "timeout": 6, "survived": 4, "total": 100}))

    assert measured(result, code) is None
    assert not record(stats, result, code, whole=False)
    assert measured(result, code) is None
    assert record(stats, result, code, whole=True)
    assert measured(result, code) == (96, 100)
    (code / "a.py").write_text("x = 2\n")
    assert measured(result, code) is None


def test_gate_that_was_not_measured_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.score.measured", lambda: None)
    unknown = core()
    monkeypatch.setattr("scripts.score.measured", lambda: (96, 100))

    assert (unknown.met, unknown.verdict) == (False, "not measured")
    assert "make mutants" in unknown.name
    assert (core().met, core().verdict) == (True, "yes")
    assert Measure("x", 94, 100, wanted=0.95).verdict == "NO"


def test_no_gate_reads_a_page() -> None:
    here = Path(__file__).parents[1] / "scripts"
    assert not [
        name for name in ("score.py", "mutation_score.py", "core_mutants.py") if '"docs"' in (here / name).read_text()
    ]
