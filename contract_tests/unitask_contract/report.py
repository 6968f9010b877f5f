"""The result of a run, and its text for a terminal."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from unitask_contract.hiding import visible
from unitask_contract.patches.proposals import Difference
from unitask_contract.runner import OF_TASK_TYPES, Outcome, Result

SLOW = 1.0  # seconds
FAILED = (Outcome.BROKEN, Outcome.NOT_RUN)
WIDTH = 12  # of a column
MOST_DIFFERENCES = 20
MOST_SUBJECTS = 2  # task types that are shown for one check, and reasons for checks that were left out


def _contradictions(differences: Iterable[Difference]) -> list[Difference]:
    """Return the differences that the spec forbids; the others are new fields and words."""
    return [one for one in differences if not one.kind.is_new]


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result for a file with a recorded body."""

    differences: Sequence[Difference] = ()
    note: str = ""  # how the file was read, if that is not as it stands
    unread: str = ""  # why it could not be checked; empty when it was

    @property
    def contradictions(self) -> list[Difference]:
        return _contradictions(self.differences)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run."""

    subject: str  # the provider, or the files
    seed: int | None  # of the generated requests; None when there were none
    results: Sequence[Result] = ()
    differences: Sequence[Difference] = ()  # between the answers and the spec
    patch: str = ""  # the change of the spec that would allow them
    held_usd: float | None = None  # what the accepted submissions cost at most; None when nothing was real
    limit_usd: float = math.inf
    unpriced: int = 0  # submissions without a known price, which `held_usd` does not include
    interrupted: bool = False  # before its last check
    cause: str = ""  # what would explain everything that is broken; empty when nothing is known
    files: Mapping[str, FileResult] = field(default_factory=dict[str, FileResult])
    seconds: float = 0.0  # the median duration of an answer

    @property
    def contradictions(self) -> list[Difference]:
        return _contradictions(self.differences)

    @property
    def title(self) -> str:
        return self.subject if self.seed is None else f"{self.subject}, seed {self.seed}"

    @property
    def exit_code(self) -> int:
        """0: the contract is kept; 1: it is broken; 2: something could not be run, or nothing was checked."""
        outcomes = {result.outcome for result in self.results}
        if self.contradictions or Outcome.BROKEN in outcomes:
            return 1
        is_unread = any(file.unread for file in self.files.values())
        is_empty = not self.files and outcomes <= {Outcome.LEFT_OUT}
        return 2 if self.interrupted or is_unread or is_empty or Outcome.NOT_RUN in outcomes else 0

    @property
    def verdict(self) -> str:
        """The run in a line."""
        counts = {outcome: sum(result.outcome is outcome for result in self.results) for outcome in Outcome}
        said = [f"{number} {outcome.value}" for outcome, number in counts.items() if number]
        said += ["interrupted"] if self.interrupted else []
        unread = sum(bool(file.unread) for file in self.files.values())
        said += [f"{unread} not read"] if unread else []
        said += [f"differs from the spec in {len(self.contradictions)}"] if self.contradictions else []
        said += [f"slow: half of the answers took {self.seconds:.1f} s or more"] if self.seconds >= SLOW else []
        word = ("kept", "broken", "not run whole")[self.exit_code]
        return f"contract {word}: {', '.join(said) or ('nothing differs' if self.files else 'nothing to check')}"


def table(report: Report) -> list[list[str]]:
    """Return how many task types of each family keep each promise, below a row of the checks; empty without any."""
    of_task_types = [result for result in report.results if result.subject]
    checks = [check.id for check in OF_TASK_TYPES if check in {result.check for result in of_task_types}]
    rows = [["family", *checks]]
    for family in sorted({result.family for result in of_task_types}):
        found = [result for result in of_task_types if result.family == family]
        cells = [_share([one.outcome for one in found if one.check.id == check]) for check in checks]
        rows.append([family, *cells])
    return rows if checks else []


def _share(outcomes: list[Outcome]) -> str:
    made = len(outcomes) - outcomes.count(Outcome.LEFT_OUT)
    return f"{outcomes.count(Outcome.KEPT)} of {made}" if made else "left out" if outcomes else "-"


def left_out(report: Report) -> dict[str, list[str]]:
    """Return the checks of task types that were left out, by reason."""
    found: dict[str, list[str]] = {}
    for result in report.results:
        if result.subject and result.outcome is Outcome.LEFT_OUT:
            found.setdefault(result.detail, []).append(f"{result.check.id} {result.subject}")
    return found


def money(report: Report) -> Iterator[str]:
    """Yield what was spent, if anything was real; an unknown price is named, and never shown as nothing."""
    if report.held_usd is None:
        return
    limit = "" if math.isinf(report.limit_usd) else f" of ${report.limit_usd:.4g}"
    more = f", and the unknown price of {report.unpriced} more" if report.unpriced else ""
    yield f"\nat most ${report.held_usd:.4g}{limit} spent, by the prices of the catalogue{more}"


# The terminal.


def text(report: Report) -> str:
    """Return the report for a terminal; control characters are shown by their numbers."""
    rows = ["".join(f"{cell:>{WIDTH}}" for cell in row) for row in table(report)]
    parts = [report.title, *(["", *rows] if rows else []), *_general(report)]
    parts += [f"\n{report.cause}"] if report.cause else [*_details(report), *_differences(report)]
    parts += [*_files(report), *money(report), *_patch(report)]
    return visible("\n".join([*parts, "", report.verdict]))


def _general(report: Report) -> Iterator[str]:
    of_provider = [result for result in report.results if not result.subject]
    if of_provider:
        yield ""
        for result in of_provider:
            said = result.detail.partition("\n")[0] if result.outcome is Outcome.LEFT_OUT else result.check.promise
            if result.outcome is not Outcome.KEPT:
                yield f"{result.outcome.value:>{WIDTH}}  {result.check.id}: {said}"
        kept = sum(result.outcome is Outcome.KEPT for result in of_provider)
        yield f"{kept:>{WIDTH}} of {len(of_provider)} checks of the whole provider kept"


def _details(report: Report) -> Iterator[str]:
    for check in dict.fromkeys(result.check for result in report.results):
        failed = [result for result in report.results if result.check == check and result.outcome in FAILED]
        for result in failed[:MOST_SUBJECTS]:
            yield f"\n{result.outcome.value}: {check.id} {result.subject}\n  {check.promise}"
            yield "\n".join(f"  {line}" for line in result.detail.splitlines())
        if unseen := [result.subject for result in failed[MOST_SUBJECTS:]]:
            yield f"\n{check.id} of {len(unseen)} more: {', '.join(unseen)} (details: --report FILE.html)"
    reasons = left_out(report)
    for reason, names in list(reasons.items())[:MOST_SUBJECTS]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"\nleft out: {names[0]}{more}: {reason}"
    if others := sum(map(len, list(reasons.values())[MOST_SUBJECTS:])):
        yield f"\nleft out: {others} more for other reasons (details: --report FILE.html)"


def _differences(report: Report) -> Iterator[str]:
    for one in report.differences[:MOST_DIFFERENCES]:
        yield f"\n{'new' if one.kind.is_new else 'differs from the spec'}: {one}"
        files = [name for name, file in report.files.items() if any(shown.key == one.key for shown in file.differences)]
        if files:
            yield f"  in {', '.join(files)}"
    if more := len(report.differences[MOST_DIFFERENCES:]):
        yield f"\n{more} more differences (all: --report FILE.html)"


def _files(report: Report) -> Iterator[str]:
    for name, file in report.files.items():
        if file.note:
            yield f"\n{name}: {file.note}"
        if file.unread:
            yield f"\nnot read: {name}: {file.unread}"


def _patch(report: Report) -> Iterator[str]:
    if report.patch:
        files = len([line for line in report.patch.splitlines() if line.startswith("diff --git ")])
        size = f"{report.patch.count(chr(10))} lines in {files} files"
        yield f"\na change of the spec is proposed: {size} (--report FILE.patch writes it)"
