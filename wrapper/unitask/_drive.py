"""Step through a flow of the core, on a clock that always advances."""

import contextlib
from dataclasses import replace
from types import TracebackType
from typing import Generic, TypeVar

from ._core.effects import Flow, Reply, Sleep, Step

T = TypeVar("T")
STANDING = 1e-6  # a clock that moves by less than this share of a sleep stands still


class Drive(Generic[T]):
    """A running flow: the step that is due, or the result if there is none."""

    result: T

    def __init__(self, flow: Flow[T]) -> None:
        self._flow = flow
        self.step: Step | None = None
        self._last: float | None = None  # monotonic seconds of the clock at the last reply
        self._ahead = 0.0  # seconds to add to the clock
        self._advance(None)

    def reply(self, reply: Reply | None) -> None:
        """Answer the step that is due; None if an exception in it has moved the flow on already."""
        if reply is not None:
            self._advance(self._timed(reply))

    def __enter__(self) -> None:
        """Carry out the step that is due. An exception goes to the flow, which may add a note to it or go on."""

    def __exit__(self, _: object, interruption: BaseException | None, traceback: TracebackType | None) -> bool:
        went_on = False
        if interruption is not None:
            with contextlib.suppress(type(interruption)):
                self._advance(interruption)
                went_on = isinstance(interruption, Exception)
            interruption.__traceback__ = traceback  # that of `_advance` refers to the exception, and keeps connections
        return went_on

    def _timed(self, reply: Reply) -> Reply:
        """Add what was slept if the clock stands still or goes back (a frozen test), or no limit would ever end."""
        now, slept = reply.at.monotonic, 0.0
        if isinstance(self.step, Sleep) and getattr(reply, "notification_of", None) is None:
            slept = self.step.seconds
        if self._last is not None and now - self._last <= STANDING * slept:
            self._ahead += slept - (now - self._last)
        self._last = now
        return replace(reply, at=reply.at._replace(monotonic=now + self._ahead)) if self._ahead else reply

    def _advance(self, reply: Reply | BaseException | None) -> None:
        try:
            if isinstance(reply, BaseException):
                self.step = self._flow.throw(reply)
            else:
                self.step = next(self._flow) if reply is None else self._flow.send(reply)
        except StopIteration as end:
            self.step, self.result = None, end.value
