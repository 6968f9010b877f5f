"""A limit on what tasks may cost, kept before they are sent.

Rules of this file: amounts are whole credits of 1e-7 USD, so that nothing drifts. An estimate is put aside before the
first request of a create leaves. It comes back only when the task provably was not accepted, or is seen to have failed
or to be cancelled; when the task is seen completed, it becomes its bill. Nothing here waits for anything but the lock.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar

from ._core.messages import Changed, Flow, Send
from ._core.pricing import CREDITS_PER_USD
from .errors import BudgetExceeded, InvalidInput, SubmissionUncertain, UnitaskError
from .task import Finding, Outcome, OutputT, State, Task

__all__ = ["Budget"]

P = TypeVar("P")


class Budget:
    """What tasks may cost in all. Clients and threads share it: `Client(budget=budget)`.

    Before a create is sent, what the task will cost (`TaskInput.estimate_usd`) is put aside; what could exceed the
    limit is refused with `BudgetExceeded`, and nothing is sent. The amount put aside

    - becomes the bill when a client sees the task completed: `Task.cost_usd`, be it more or less, else the estimate;
    - comes back when the create is refused or never left, and when a client sees the task failed or cancelled;
    - stays put aside while none of that is seen, after `SubmissionUncertain` until `Client.find` tells, and for good
      when a create was stopped from outside while its request was under way.

    So a bill above its estimate is the only way to spend more than the limit. Tasks are known by their ids: any client
    with this budget may look at them.

    Args:
        usd: The limit.
        assume_usd: What to put aside for a task whose cost cannot be known; None refuses such tasks.

    Raises:
        InvalidInput: An amount is no number of 0 or more.
    """

    def __init__(self, usd: float, *, assume_usd: float | None = None) -> None:
        self._limit = _credits("usd", usd)
        self._assumed = None if assume_usd is None else _credits("assume_usd", assume_usd)
        self._spent = self._held = 0
        self._tasks: dict[str, int] = {}  # accepted, not seen to have ended: what is put aside for each
        self._uncertain: dict[object, int] = {}  # what is put aside for each uncertain create
        self._lock = threading.Lock()

    @property
    def limit_usd(self) -> float:
        """What tasks may cost in all."""
        return self._limit / CREDITS_PER_USD

    @property
    def spent_usd(self) -> float:
        """The bills of the tasks that were seen completed."""
        return self._spent / CREDITS_PER_USD

    @property
    def held_usd(self) -> float:
        """What is put aside for tasks that may still be billed."""
        return self._held / CREDITS_PER_USD

    @property
    def left_usd(self) -> float:
        """What may still be put aside; below 0 when bills were above their estimates."""
        with self._lock:
            return (self._limit - self._spent - self._held) / CREDITS_PER_USD

    def see(self, task: Task[Any]) -> None:
        """Note how a task stands. Clients do so at every look; do it for one that comes another way, as by webhook.

        A task that has not ended, or is none of this budget's, changes nothing.
        """
        if not task.done:
            return
        with self._lock:
            held = self._tasks.pop(task.id, None)
            if held is None:
                return
            self._held -= held
            if task.state is State.COMPLETED:
                self._spent += _bill(task, held)

    def see_finding(self, uncertain: SubmissionUncertain, finding: Finding) -> None:
        """Note what became of an uncertain create. Clients do so at the end of `find`."""
        with self._lock:
            held = self._uncertain.get(_identity(uncertain))
            if held is None or finding.outcome is Outcome.UNCLEAR:
                return
            del self._uncertain[_identity(uncertain)]
            if finding.task is None:
                self._held -= held
                return
        self._accept(finding.task.id, held)
        self.see(finding.task)

    def within(
        self, estimate: int | None, name: str, prepared: Flow[P], create: Callable[[P], Flow[Task[OutputT]]]
    ) -> Flow[Task[OutputT]]:
        """A create that is kept within this budget; for clients.

        Args:
            estimate: What the task will cost in credits of 1e-7 USD; None when that cannot be known.
            name: What is created, for the refusal.
            prepared: The steps before the create, which cost nothing.
            create: The steps of the create, from what they returned.

        Raises:
            BudgetExceeded: Before the first step; nothing was sent.
        """
        held = self._hold(estimate, name)
        accepted = under_way = False
        try:
            flow = create((yield from prepared))
            step = next(flow)
            while True:
                if isinstance(step, Changed) and not accepted:  # the first change that is told is the acceptance
                    self._accept(step.task.id, held)
                    accepted = True
                under_way = isinstance(step, Send)
                try:
                    reply = yield step
                except BaseException as interruption:
                    flow.throw(interruption)
                    raise
                step = flow.send(reply)
        except StopIteration as end:
            result: Task[OutputT] = end.value
            return result
        except SubmissionUncertain as error:
            with self._lock:
                self._uncertain[_identity(error)] = held
            raise
        except BaseException as error:
            refused = isinstance(error, UnitaskError) or not under_way
            if refused and not accepted:
                self._release(held)
            raise

    def __repr__(self) -> str:
        with self._lock:
            amounts = {"usd": self._limit, "spent_usd": self._spent, "held_usd": self._held}
        amounts["left_usd"] = amounts["usd"] - amounts["spent_usd"] - amounts["held_usd"]
        return f"Budget({', '.join(f'{name}={amount / CREDITS_PER_USD:.7g}' for name, amount in amounts.items())})"

    def _hold(self, estimate: int | None, name: str) -> int:
        """Put the estimate of a task aside, and return what was."""
        wanted = self._assumed if estimate is None else estimate
        with self._lock:
            if wanted is not None and self._spent + self._held + wanted <= self._limit:
                self._held += wanted
                return wanted
            amounts = [self._limit, self._spent, self._held]
        limit, spent, held = (amount / CREDITS_PER_USD for amount in amounts)
        usd = None if wanted is None else wanted / CREDITS_PER_USD
        raise BudgetExceeded(name, estimate_usd=usd, limit_usd=limit, spent_usd=spent, held_usd=held)

    def _release(self, held: int) -> None:
        with self._lock:
            self._held -= held

    def _accept(self, task_id: str, held: int) -> None:
        with self._lock:
            self._tasks[task_id] = self._tasks.get(task_id, 0) + held


def _identity(error: SubmissionUncertain) -> object:
    return error.fingerprint, error.sent_between


def _bill(task: Task[Any], estimate: int) -> int:
    cost = task.cost_usd
    return estimate if cost is None or cost < 0 else round(Fraction(cost) * CREDITS_PER_USD)


def _credits(name: str, usd: object) -> int:
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 <= usd < math.inf:
        raise InvalidInput(f"{name} is {usd!r}: give an amount in USD, 0 or more")
    return round(Fraction(usd) * CREDITS_PER_USD)
