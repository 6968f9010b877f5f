"""The life of a task: every status word, and what it means for someone who waits.

Rules of this file: all knowledge of status words lives here. The page lists them capitalised (Image Faceswap,
2025-04-03), every recorded body has them in lower case, so letter case is folded. A word that is not here never ends a
wait: the task may be running, and it is paid for.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What a status word stands for."""

    PENDING = "pending"
    STAGED = "staged"  # Midjourney: accepted, over the concurrency limit
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


STATES = {
    # documented: the unified schema page, 2025
    "pending": State.PENDING,
    "staged": State.STAGED,
    "processing": State.PROCESSING,
    "completed": State.COMPLETED,
    "failed": State.FAILED,
    # used by public clients; the word that the provider gives a cancelled task is not documented
    "cancelled": State.CANCELLED,
    "canceled": State.CANCELLED,
    "running": State.PROCESSING,
    "in_progress": State.PROCESSING,
    # legacy face swap, and rows of the task history
    "starting": State.PROCESSING,
    "success": State.COMPLETED,
    "finished": State.COMPLETED,
}
TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})


def state_of(word: object) -> State:
    """The state that a status word stands for; anything not listed, and anything that is no word, is UNKNOWN."""
    return STATES.get(word.strip().casefold(), State.UNKNOWN) if isinstance(word, str) else State.UNKNOWN
