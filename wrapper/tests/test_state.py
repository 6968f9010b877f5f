"""Status words: the table that says which of them ends a wait."""

from __future__ import annotations

from typing import Any

import pytest
from unitask._model.state import STATES, TERMINAL, State, state_of
from unitask_api import contract

STATUS = contract.components()["TaskStatus"]
ENUM: list[str] = next(part["enum"] for part in STATUS["anyOf"] if "enum" in part)


@pytest.mark.parametrize("word", ENUM)
def test_word_of_the_spec_is_classified(word: str) -> None:
    assert STATES[word] == word
    assert state_of(word) is State(word)


def test_table_holds_folded_words_of_known_states() -> None:
    assert [word for word in STATES if word != word.strip().casefold()] == []
    assert set(STATES.values()) == set(State) - {State.UNKNOWN}
    assert {State.COMPLETED, State.FAILED, State.CANCELLED} == TERMINAL


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Completed", State.COMPLETED),
        (" completed\n", State.COMPLETED),
        ("canceled", State.CANCELLED),
        ("success", State.COMPLETED),
        ("running", State.PROCESSING),
    ],
)
def test_word_is_read_without_regard_to_case_and_space(word: str, state: State) -> None:
    assert state_of(word) is state


@pytest.mark.parametrize("word", ["", "done", "complete d", "unknown", None, 1, ["completed"], b"failed"], ids=repr)
def test_anything_else_is_unknown_and_ends_nothing(word: Any) -> None:
    assert state_of(word) is State.UNKNOWN
    assert state_of(word) not in TERMINAL
