"""The life of a task. The states and their words are data of the spec (`x-states` in spec/schemas/task.yaml)."""

from __future__ import annotations

from unitask_api.states import ENDED as TERMINAL
from unitask_api.states import STATES, State, state_of

__all__ = ["STATES", "TERMINAL", "State", "state_of"]
