"""Write `unitask_api.states`, the states of a task and their status words, from `x-states` of TaskStatus."""

from pathlib import Path

from .bundle import Document

PHASES = ("queued", "started", "ended")  # of a task's life, in order


def emit_states(document: Document, package: Path) -> None:
    """Write the module `states` of the generated package."""
    states: Document = document["components"]["schemas"]["TaskStatus"]["x-states"]
    members = "\n".join(f"    {name.upper()} = {name!r}" for name in (*states, "unknown"))
    words = "\n".join(f"    {word!r}: State.{name.upper()}," for name, rule in states.items() for word in rule["words"])
    text = f'''"""The states of a task, and the words for them.

An unlisted word never ends a wait: the task may be running, and it is paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

__all__ = ["ENDED", "QUEUED", "STATES", "State", "state_of"]


class State(StrEnum):
    """The state that a status word stands for."""

{members}


STATES: Mapping[str, State] = {{
{words}
}}
QUEUED = frozenset({{{_members(states, "queued")}}})
ENDED = frozenset({{{_members(states, "ended")}}})


def state_of(word: object) -> State:
    """Return the state that a status word stands for, in any letter case; UNKNOWN for anything else."""
    if not isinstance(word, str):
        return State.UNKNOWN
    return STATES.get(word) or STATES.get(word.strip().casefold(), State.UNKNOWN)
'''
    (package / "states.py").write_text(text, encoding="utf-8")


def _members(states: Document, phase: str) -> str:
    return ", ".join(f"State.{name.upper()}" for name, rule in states.items() if rule["phase"] == phase)
