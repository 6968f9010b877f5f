"""Step through a flow of the core, on a clock that always advances."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import replace
from typing import Generic, TypeVar

from ._core.effects import Flow, Reply, Sleep, Step

T = TypeVar("T")
STANDING = 1e-6  # a clock that moves by less than this share of a sleep stands still


class Drive(Generic[T]):
    """A flow on its way: the step that is due, or the result once there is none."""

    result: T

    def __init__(self, flow: Flow[T]) -> None:
        self._flow = flow
        self.step: Step | None = None
        self._begun = self._went_on = False
        self._ticks = self._ahead = 0.0  # of the clock at the last reply, and what is added to it
        self._advance(None)

    def reply(self, reply: Reply) -> None:
        """Answer the step that is due; when the flow has gone on without an answer, that is done."""
        if self._went_on:
            self._went_on = False
        else:
            self._advance(self._timed(reply))

    @contextlib.contextmanager
    def guard(self) -> Generator[None]:
        """Around a step that may raise: the flow may add a note to the exception, or go on with another step."""
        try:
            yield
        except BaseException as interruption:
            with contextlib.suppress(type(interruption)):
                self._advance(interruption)
                self._went_on = isinstance(interruption, Exception)
            if not self._went_on:
                raise

    def _timed(self, reply: Reply) -> Reply:
        """The reply, with a time that goes on.

        A clock that stands still, or goes back (a test that freezes time), would make every limit endless. The seconds
        that were slept are counted instead.
        """
        slept = (
            self.step.seconds
            if isinstance(self.step, Sleep) and getattr(reply, "notification_of", None) is None
            else 0.0
        )
        moved, self._ticks = reply.at.monotonic - self._ticks, reply.at.monotonic
        if self._begun and moved <= STANDING * slept:
            self._ahead += slept - moved
        self._begun = True
        return (
            replace(reply, at=reply.at._replace(monotonic=reply.at.monotonic + self._ahead)) if self._ahead else reply
        )

    def _advance(self, reply: Reply | BaseException | None) -> None:
        try:
            if isinstance(reply, BaseException):
                self.step = self._flow.throw(reply)
            else:
                self.step = next(self._flow) if reply is None else self._flow.send(reply)
        except StopIteration as end:
            self.step, self.result = None, end.value
