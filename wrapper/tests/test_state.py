"""Status words: the table that says which of them ends a wait."""

from __future__ import annotations

from typing import Any

import pytest
from unitask._model.state import STATES, TERMINAL, State, state_of


def test_every_state_has_words_and_its_own_name_is_one() -> None:
    assert set(STATES.values()) == set(State) - {State.UNKNOWN}
    assert [state for state in State if state is not state_of(state.value)] == []
    assert {State.COMPLETED, State.FAILED, State.CANCELLED} == TERMINAL


@pytest.mark.parametrize(
    ("word", "state"),
    [
        (" Completed\n", State.COMPLETED),
        ("canceled", State.CANCELLED),
        ("success", State.COMPLETED),
        ("staged", State.STAGED),
        ("running", State.PROCESSING),
        *((odd, State.UNKNOWN) for odd in ("", "done", "complete d", "unknown", None, 1, ["completed"], b"failed")),
    ],
    ids=repr,
)
def test_word_is_read_without_regard_to_case_and_space_and_any_other_is_unknown(word: Any, state: State) -> None:
    assert state_of(word) is state
