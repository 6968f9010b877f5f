"""A limit on what tasks may cost, checked before they are sent.

Rules of this file: amounts are whole credits of 1e-7 USD, so that nothing drifts. All of them are one immutable value,
and a change replaces it in one operation of the interpreter, so an interruption between any two lines finds the amounts
from before or after a change. There is no lock: an interruption beside its acquisition could leave it locked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ._core.effects import Flow
from ._core.pricing import CREDITS_PER_USD, MOST_USD, bill_of
from ._core.recovery import Submission
from ._model.task import Outcome, OutputT, Recovery, Task
from .errors import BudgetExceeded, InvalidInput, SubmissionUncertain, UnitaskError

__all__ = ["Budget"]

BUCKETS = 64  # parts of `aside`


@dataclass(frozen=True, slots=True)
class _Amounts:
    """The amounts of a budget at one time, in credits."""

    spent: int = 0  # the bills so far
    held: int = 0  # the sum of `aside`
    # What is put aside, by the id of the task, or by the token of a submission without one. It is in parts, by the hash
    # of the key, because a change copies a part.
    aside: tuple[Mapping[str, int], ...] = (dict[str, int](),) * BUCKETS
    # The amounts that replaced these, under the key 0; empty while these are the current ones.
    successor: dict[int, _Amounts] = field(default_factory=dict[int, "_Amounts"])

    def put_aside(self, key: str, credits_: int) -> _Amounts:
        bucket = self._bucket(key)
        return self._with({**bucket, key: bucket.get(key, 0) + credits_}, key, self.spent, self.held + credits_)

    def take_out(self, key: str, *, spend: int = 0) -> _Amounts:
        bucket = self._bucket(key)
        if key not in bucket:
            return self
        others = {other: credits_ for other, credits_ in bucket.items() if other != key}
        return self._with(others, key, self.spent + spend, self.held - bucket[key])

    def amount(self, key: str) -> int | None:
        """What is put aside under this key."""
        return self._bucket(key).get(key)

    def _bucket(self, key: str) -> Mapping[str, int]:
        return self.aside[hash(key) % BUCKETS]

    def _with(self, bucket: Mapping[str, int], key: str, spent: int, held: int) -> _Amounts:
        place = hash(key) % BUCKETS
        return _Amounts(spent, held, (*self.aside[:place], bucket, *self.aside[place + 1 :]))

    def move(self, key: str, to: str) -> _Amounts:
        credits_ = self.amount(key)
        return self if credits_ is None else self.take_out(key).put_aside(to, credits_)


class Budget:
    """A limit on what tasks may cost in all. Clients and threads share it: `Client(budget=budget)`.

    Before a submission is sent, the estimate of the task (`TaskInput.estimate_usd`) is put aside; what could exceed the
    limit is refused with `BudgetExceeded`, and nothing is sent. The amount put aside

    - becomes the bill when a client sees the task completed: `Task.cost_usd`, else the estimate;
    - is released when the submission is refused or never left, and when a client sees the task failed or cancelled;
    - stays put aside otherwise: after `SubmissionUncertain`, and after an interruption while the request was under way,
      until `Client.find` decides.

    So only a bill above its estimate can exceed the limit. Any client with this budget may poll the tasks.

    Args:
        usd: The limit.
        assume_usd: What to put aside for a task of unknown cost; None refuses such tasks.

    Raises:
        InvalidInput: An amount is not a number of 0 or more.
    """

    def __init__(self, usd: float, *, assume_usd: float | None = None) -> None:
        self._limit = _credits("usd", usd)
        self._assumed = None if assume_usd is None else _credits("assume_usd", assume_usd)
        self._amounts = _Amounts()  # the current ones, or some from which `successor` leads to them

    @property
    def limit_usd(self) -> float:
        """The limit."""
        return self._limit / CREDITS_PER_USD

    @property
    def spent_usd(self) -> float:
        """The bills of the tasks that were seen completed."""
        return self._current().spent / CREDITS_PER_USD

    @property
    def held_usd(self) -> float:
        """The amount put aside for tasks that may still be billed."""
        return self._current().held / CREDITS_PER_USD

    @property
    def left_usd(self) -> float:
        """The amount that may still be put aside; below 0 when bills were above their estimates."""
        amounts = self._current()
        return (self._limit - amounts.spent - amounts.held) / CREDITS_PER_USD

    def see(self, task: Task[Any]) -> None:
        """Record the state of a task. Clients do so at every poll; call it for a task that you read elsewhere.

        A task that has not ended, or that this budget does not hold, changes nothing.
        """
        self._change(lambda amounts: _settled(amounts, task))

    def see_finding(self, uncertain: SubmissionUncertain, finding: Recovery) -> None:
        """Record the outcome of an uncertain submission. Clients do so at the end of `find`."""
        key = uncertain.identity.submission
        if finding.task is not None:
            self._accept(key, finding.task)
        elif finding.outcome is Outcome.ABSENT:
            self._change(lambda amounts: amounts.take_out(key))

    def within(
        self, estimate: int | None, name: str, flow: Flow[Task[OutputT]], submission: Submission
    ) -> Flow[Task[OutputT]]:
        """Keep a submission within this budget; for clients. `estimate` is in credits, None if it is unknown."""
        key = submission.token
        try:
            self._hold(key, estimate, name)
            task = yield from flow
            self._accept(key, task)
            return task
        except BaseException as error:
            is_decided = isinstance(error, UnitaskError) and not isinstance(error, SubmissionUncertain)
            if submission.task_id is not None:
                task_id = submission.task_id
                self._change(lambda amounts: amounts.move(key, task_id))
            elif is_decided or not submission.in_doubt:
                self._change(lambda amounts: amounts.take_out(key))
            raise

    def __repr__(self) -> str:
        now = self._current()
        amounts = {"usd": self._limit, "spent_usd": now.spent, "held_usd": now.held}
        amounts["left_usd"] = self._limit - now.spent - now.held
        if self._assumed is not None:
            amounts["assume_usd"] = self._assumed
        return f"Budget({', '.join(f'{name}={amount / CREDITS_PER_USD:.7g}' for name, amount in amounts.items())})"

    def __reduce__(self) -> str:
        raise TypeError(
            "a Budget belongs to one process, and a copy would be a second limit: divide it among processes"
        )

    def _current(self) -> _Amounts:
        amounts = self._amounts
        while amounts.successor:
            amounts = amounts.successor[0]
        return amounts

    def _change(self, change: Callable[[_Amounts], _Amounts]) -> None:
        """Replace the current amounts; `change` is called again when another thread was first."""
        while True:
            before = self._current()
            after = change(before)
            # setdefault is atomic: it is the moment of the change, and only one of several threads gets its own value
            if after is before or before.successor.setdefault(0, after) is after:
                self._amounts = after
                return

    def _hold(self, key: str, estimate: int | None, name: str) -> None:
        wanted = self._assumed if estimate is None else estimate

        def held(amounts: _Amounts) -> _Amounts:
            if wanted is not None and amounts.spent + amounts.held + wanted <= self._limit:
                return amounts.put_aside(key, wanted)
            limit, spent, aside = (part / CREDITS_PER_USD for part in (self._limit, amounts.spent, amounts.held))
            usd = None if wanted is None else wanted / CREDITS_PER_USD
            raise BudgetExceeded(name, estimate_usd=usd, limit_usd=limit, spent_usd=spent, held_usd=aside)

        self._change(held)

    def _accept(self, key: str, task: Task[Any]) -> None:
        """Bind the amount of a submission to its task, which may have ended already."""
        self._change(lambda amounts: _settled(amounts.move(key, task.id), task))


def _settled(amounts: _Amounts, task: Task[Any]) -> _Amounts:
    """Return the amounts after a poll: at its end, what is put aside for a task becomes its bill, or is released."""
    aside = amounts.amount(task.id)
    return amounts if not task.done or aside is None else amounts.take_out(task.id, spend=bill_of(task, aside))


def _credits(name: str, usd: object) -> int:
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 <= usd <= MOST_USD:
        raise InvalidInput(f"{name} is {usd!r:.80}: give an amount in USD, 0 or more")
    return round(Fraction(usd) * CREDITS_PER_USD)
