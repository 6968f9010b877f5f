"""A gate of `make score` takes its figure from a run, never from a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.mutants import ROOT, measured, record, sources
from scripts.score import Measure, wrapper


def test_result_of_mutants_is_that_of_the_sources_as_they_are(tmp_path: Path) -> None:
    code, stats, result = [tmp_path / "a.py"], tmp_path / "stats.json", tmp_path / "out" / "mutants.json"
    code[0].write_text("x = 1\n")
    stats.write_text(json.dumps({"killed": 90, "timeout": 6, "survived": 4, "total": 100}))

    assert measured(result, code) is None
    assert not record(stats, result, code, whole=False)
    assert measured(result, code) is None
    assert record(stats, result, code, whole=True)
    assert measured(result, code) == (96, 100)
    code[0].write_text("x = 2\n")
    assert measured(result, code) is None


def test_whole_wrapper_but_its_applications_is_mutated() -> None:
    unitask = ROOT / "wrapper" / "unitask"
    mutated = {path.relative_to(unitask).as_posix() for path in sources()}

    assert {path.relative_to(unitask).as_posix() for path in unitask.glob("_[cm]o*/*.py")} <= mutated
    assert mutated >= {f"{name}.py" for name in ("client", "async_client", "_base_client", "download", "media")}
    assert mutated >= {"webhooks.py", "budget.py", "errors.py"}


def test_gate_that_was_not_measured_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.score.measured", lambda: None)
    unknown = wrapper()
    monkeypatch.setattr("scripts.score.measured", lambda: (96, 100))

    assert (unknown.met, unknown.verdict) == (False, "not measured")
    assert "make mutants" in unknown.name
    assert (wrapper().met, wrapper().verdict) == (True, "yes")
    assert Measure("x", 94, 100, wanted=0.95).verdict == "NO"


def test_no_gate_reads_a_page() -> None:
    here = Path(__file__).parents[1] / "scripts"
    assert not [name for name in ("score.py", "mutants.py") if '"docs"' in (here / name).read_text()]
