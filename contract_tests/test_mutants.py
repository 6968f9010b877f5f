"""No documented answer, changed in one step, ends in an exception that is not ours, or in silence."""

from __future__ import annotations

from collections import Counter

import pytest
from unitask_contract.bundle import outputs_of
from unitask_contract.mutation import BAD, BODIES, VALUES, ask_generated, judged, mutants, tolerances


def test_every_wrong_answer_is_told_or_tolerated_by_name() -> None:
    found = [(str(mutant), *judged(mutant)) for mutant in mutants()]

    assert [finding for finding in found if finding[1] in BAD] == []
    used = Counter(words for _, verdict, words in found if verdict == "tolerated")
    assert {one.name for one in tolerances()} == used.keys()  # none that nothing needs
    assert len(VALUES) + len(BODIES) >= 13


def test_generated_client_alone_reports_every_wrong_answer() -> None:
    found = [(str(mutant), *judged(mutant, ask_generated)) for mutant in mutants()]

    assert [finding for finding in found if finding[1] in BAD] == []


def test_wrong_answers_are_found_to_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitask_api.reader.Reader._fail", lambda *_: None)
    found = {judged(mutant)[0] for mutant in mutants() if mutant.operator == "list" and "image_url" in mutant.path}

    assert "silent" in found


def test_task_with_names_that_are_none_has_no_output_of_its_own() -> None:
    assert outputs_of("Qubico/image-toolkit", "face-swap") == ("FaceSwapOutput",)
    assert outputs_of(["Qubico/image-toolkit"], {}) == ()
