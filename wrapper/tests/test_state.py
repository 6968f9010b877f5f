"""Status words: the table that says which of them ends a wait."""

from __future__ import annotations

from typing import Any

import pytest
from unitask._model.state import STATES, TERMINAL, State, state_of
from unitask_api import contract

STATUS = contract.components()["TaskStatus"]
ENUM: list[str] = next(part["enum"] for part in STATUS["anyOf"] if "enum" in part)


def test_table_holds_the_words_of_the_spec_folded() -> None:
    assert [word for word in ENUM if STATES.get(word) != word or state_of(word) is not State(word)] == []
    assert [word for word in STATES if word != word.strip().casefold()] == []
    assert set(STATES.values()) == set(State) - {State.UNKNOWN}
    assert {State.COMPLETED, State.FAILED, State.CANCELLED} == TERMINAL


@pytest.mark.parametrize(
    ("word", "state"),
    [
        (" Completed\n", State.COMPLETED),
        ("canceled", State.CANCELLED),
        ("success", State.COMPLETED),
        ("running", State.PROCESSING),
        *((odd, State.UNKNOWN) for odd in ("", "done", "complete d", "unknown", None, 1, ["completed"], b"failed")),
    ],
    ids=repr,
)
def test_word_is_read_without_regard_to_case_and_space_and_any_other_is_unknown(word: Any, state: State) -> None:
    assert state_of(word) is state
