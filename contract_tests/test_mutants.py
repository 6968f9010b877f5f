"""Every documented answer, changed in one step, ends in a typed error or in a tolerance with a name."""

import pytest
from unitask_contract.bundle import outputs_of
from unitask_contract.mutation import BAD, ask_generated, judged, mutants, tolerances


def test_wrapper_reports_every_wrong_answer() -> None:
    found = [(str(mutant), *judged(mutant)) for mutant in mutants()]

    assert [finding for finding in found if finding[1] in BAD] == []
    assert tolerances().keys() == {words for _, verdict, words in found if verdict == "tolerated"}


def test_generated_client_alone_reports_every_wrong_answer() -> None:
    found = [(str(mutant), *judged(mutant, ask_generated)) for mutant in mutants()]

    assert [finding for finding in found if finding[1] in BAD] == []


def test_answer_that_is_wrong_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitask_api.reader.Reader._fail", lambda *_: None)

    assert "silent" in {judged(one)[0] for one in mutants() if one.operator == "list" and "image_url" in one.path}


def test_names_of_another_type_have_no_output() -> None:
    assert outputs_of("Qubico/image-toolkit", "face-swap") == ("FaceSwapOutput",)
    assert outputs_of(["Qubico/image-toolkit"], {}) == ()
