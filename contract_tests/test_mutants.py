"""Every documented answer, changed in one step, ends in a typed error or in a tolerance with a name."""

from collections.abc import Callable
from typing import Any

import pytest
from unitask_contract.mutation import BAD, ask, ask_generated, judged, mutants, tolerances


@pytest.mark.parametrize("call", [ask, ask_generated], ids=["wrapper", "generated client"])
def test_every_wrong_answer_is_reported(call: Callable[..., Any]) -> None:
    found = [(str(mutant), *judged(mutant, call)) for mutant in mutants()]

    assert [finding for finding in found if finding[1] in BAD] == []
    if call is ask:
        assert tolerances().keys() == {words for _, verdict, words in found if verdict == "tolerated"}


def test_answer_that_is_wrong_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitask_api.reader.Reader._fail", lambda *_: None)

    assert "silent" in {judged(one)[0] for one in mutants() if one.operator == "list" and "image_url" in one.path}
