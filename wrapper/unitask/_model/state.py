"""The states of a task, and the status words that stand for them.

The words come from the contract (`x-states` of TaskStatus). The page lists them capitalised (Image Faceswap,
2025-04-03), recorded bodies have them in lower case, so letter case is folded. A word that is not listed never ends a
wait: the task may be running, and it is paid for.
"""

from __future__ import annotations

from enum import StrEnum

from unitask_api import contract


class State(StrEnum):
    """What a status word stands for."""

    PENDING = "pending"
    STAGED = "staged"  # Midjourney: accepted, over the concurrency limit
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


STATES = {word: State(state) for word, state in contract.component("TaskStatus")["x-states"].items()}
TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})


def state_of(word: object) -> State:
    """The state that a status word stands for; anything not listed, and anything that is no word, is UNKNOWN."""
    return STATES.get(word.strip().casefold(), State.UNKNOWN) if isinstance(word, str) else State.UNKNOWN
