"""What came of a run, and how it is counted: what the terminal, the page and the programs are told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from unitask_contract.patches.proposals import Difference, Kind
from unitask_contract.runner import OF_TASK_TYPES, Check, Outcome, Result

SLOW = 1.0  # seconds
FAILED = (Outcome.BROKEN, Outcome.NOT_RUN)


@dataclass(frozen=True, slots=True)
class Report:
    """A run.

    Attributes:
        subject: Which provider.
        seed: What was drawn at random was drawn from it; None when nothing was drawn.
        differences: Between the answers and the spec.
        patch: The change of the spec that would allow them; empty when there is none to propose.
        coverage: Family by family, what of the contract was exercised; empty when it was not counted.
        missing: What was not.
        held_usd: What the creates that may have been accepted cost at most; None when nothing was real.
        limit_usd: What they could have cost.
        unpriced: How many of them have no known price, which is not in `held_usd`.
        interrupted: Whether it ended before its last check.
        cause: What would explain everything that is broken; empty when nothing is known that would.
        files: The differences of each file with a recorded body.
        notes: How a file was read, of each for which that needs a word.
        unread: Why a file could not be checked, of each such.
        seconds: The median of the times that answers took.
    """

    subject: str
    seed: int | None
    results: Sequence[Result] = ()
    differences: Sequence[Difference] = ()
    patch: str = ""
    coverage: Mapping[str, Mapping[str, tuple[int, int]]] = field(
        default_factory=dict[str, Mapping[str, tuple[int, int]]]
    )
    missing: Sequence[str] = ()
    held_usd: float | None = None
    limit_usd: float = math.inf
    unpriced: int = 0
    interrupted: bool = False
    cause: str = ""
    files: Mapping[str, Sequence[Difference]] = field(default_factory=dict[str, Sequence[Difference]])
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    unread: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0

    def files_of(self, difference: Difference) -> list[str]:
        """The files whose bodies show a difference."""
        return [name for name, shown in self.files.items() if any(one.is_same(difference) for one in shown)]

    @property
    def contradictions(self) -> list[Difference]:
        """The differences that the spec forbids; the others are new fields."""
        return [difference for difference in self.differences if difference.kind is not Kind.NEW_FIELD]

    @property
    def exit_code(self) -> int:
        """0: the contract is kept; 1: it is broken; 2: something could not be run, or everything was left out."""
        if self.contradictions or any(result.outcome is Outcome.BROKEN for result in self.results):
            return 1
        outcomes = {result.outcome for result in self.results}
        return (
            2 if self.interrupted or self.unread or Outcome.NOT_RUN in outcomes or outcomes == {Outcome.LEFT_OUT} else 0
        )

    @property
    def verdict(self) -> str:
        """The run in a line."""
        counts = {
            outcome: sum(result.outcome is outcome for result in self.results)
            for outcome in Outcome
            if any(result.outcome is outcome for result in self.results)
        }
        told = [f"{count} {outcome.value}" for outcome, count in counts.items()]
        told += ["interrupted"] if self.interrupted else []
        told += [f"{len(self.unread)} not read"] if self.unread else []
        told += [f"differs from the spec in {len(self.contradictions)}"] if self.contradictions else []
        told += [f"slow: half of the answers took {self.seconds:.1f} s or more"] if self.seconds >= SLOW else []
        word = ("kept", "broken", "not run whole")[self.exit_code]
        return f"contract {word}: {', '.join(told) or 'nothing differs'}"

    @property
    def proposed(self) -> str:
        """That a change of the spec is proposed, and how long it is; empty when none is."""
        files = self.patch.count("\ndiff --git ") + self.patch.startswith("diff --git ")
        lines = self.patch.count("\n")
        return f"a change of the spec is proposed: {lines} lines in {files} files" if self.patch else ""


def columns(report: Report) -> list[Check]:
    made = {result.check.id for result in report.results}
    return [check for check in OF_TASK_TYPES if check.id in made]


def table(report: Report) -> Iterator[tuple[str, list[tuple[int, int, int]]]]:
    """Family by family: of each check of task types how many are kept, failed, and left out."""
    families = sorted({result.family for result in report.results if result.subject})
    for family in families:
        row: list[tuple[int, int, int]] = []
        for check in columns(report):
            of_cell = [one for one in report.results if (one.family, one.check.id) == (family, check.id)]
            failed = sum(one.outcome in FAILED for one in of_cell)
            kept = sum(one.outcome is Outcome.KEPT for one in of_cell)
            row.append((kept, failed, len(of_cell) - kept - failed))
        yield family, row


def share(kept: int, failed: int, left_out: int) -> str:
    if not kept + failed:
        return "left out" if left_out else "-"
    return f"{kept} of {kept + failed}"


def left_out(report: Report) -> dict[str, list[str]]:
    """Why checks of task types were left out, and which."""
    found: dict[str, list[str]] = {}
    for result in report.results:
        if result.subject and result.outcome is Outcome.LEFT_OUT:
            found.setdefault(result.detail, []).append(f"{result.check.id} {result.subject}")
    return found


def money(report: Report) -> Iterator[str]:
    """What was spent, where something was: a price that is not known is named, and never shown as nothing."""
    if report.held_usd is None:
        return
    limit = "" if math.isinf(report.limit_usd) else f" of ${report.limit_usd:.4g}"
    more = f", and the unknown price of {report.unpriced} more" if report.unpriced else ""
    yield f"\nat most ${report.held_usd:.4g}{limit} spent, by the prices of the catalogue{more}"
