"""A gate of `make score` takes its figure from a run on the sources as they are; what was not measured is not met."""

import json
from pathlib import Path

import pytest

from scripts.mutants import measured, record
from scripts.score import Measure, wrapper


def test_mutants_are_measured_on_the_sources_as_they_are(tmp_path: Path) -> None:
    code, stats, result = [tmp_path / "a.py"], tmp_path / "stats.json", tmp_path / "out" / "mutants.json"
    code[0].write_text("x = 1\n")
    stats.write_text(json.dumps({"killed": 90, "timeout": 6, "survived": 4, "total": 100}))

    assert not record(stats, result, code, whole=False)
    assert measured(result, code) is None
    assert record(stats, result, code, whole=True)
    assert measured(result, code) == (96, 100)
    code[0].write_text("x = 2\n")
    assert measured(result, code) is None


def test_gate_that_was_not_measured_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, verdict in ((None, "not measured"), ((94, 100), "NO"), ((96, 100), "yes")):
        monkeypatch.setattr("scripts.score.measured", lambda found=found: found)
        measure: Measure = wrapper()
        assert (measure.verdict, measure.met) == (verdict, verdict == "yes")
