"""Every documented answer, changed in one step, ends in a typed error or in a tolerance with a name."""

from collections.abc import Callable
from typing import Any

import pytest
from unitask_contract.bundle import examples, fields

from .support.mutation import BAD, Mutant, ask, ask_generated, judged, mutants, tolerances


def of_each_place() -> list[Mutant]:
    """Return the mutants of outputs, and of the rest of the answers once for all task types, which read it alike.

    `make score` tries them all.
    """
    found: dict[object, Mutant] = {}
    for mutant in mutants():
        status = str(fields(examples()[mutant.example]["value"].get("data")).get("status"))
        place = status, mutant.refusal, mutant.operation, mutant.path, mutant.operator
        found.setdefault(mutant if mutant.path.startswith("/data/output") else place, mutant)
    return list(found.values())


@pytest.mark.parametrize("call", [ask, ask_generated], ids=["wrapper", "generated client"])
def test_every_wrong_answer_is_reported(call: Callable[..., Any]) -> None:
    # Both clients read outputs with the models of unitask_api.
    every = [one for one in of_each_place() if call is ask or not one.path.startswith("/data/output")]
    found = [(str(mutant), *judged(mutant, call)) for mutant in every]

    assert [finding for finding in found if finding[1] in BAD] == []
    if call is ask:
        assert tolerances().keys() == {words for _, verdict, words in found if verdict == "tolerated"}


def test_answer_that_is_wrong_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitask_api.reader.Reader._fail", lambda *_: None)

    assert "silent" in {judged(one)[0] for one in mutants() if one.operator == "list" and "image_url" in one.path}
