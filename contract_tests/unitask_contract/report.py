"""The result of a run, its findings, and its text for a terminal."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from unitask_contract import causes
from unitask_contract.causes import Cause
from unitask_contract.hiding import visible
from unitask_contract.patches.proposals import Difference, Kind
from unitask_contract.runner import OF_TASK_TYPES, Outcome, Result

SLOW = 1.0  # seconds
FAILED = (Outcome.BROKEN, Outcome.NOT_RUN)
WIDTH = 12  # of a column
ABOUT_NEW = "the contract allows it, and does not name it; a program that ignores it goes on."
UNREAD = Cause("files were not read")
MOST_FINDINGS = 20  # that are shown whole
MOST_NAMED = 6  # checks, or operations, in the line of a finding
MOST_SHOWN = 2  # results and differences that are shown of a finding, and reasons for checks that were left out


def _contradictions(differences: Iterable[Difference]) -> list[Difference]:
    """Return the differences that the spec forbids; the others are new fields and words."""
    return [one for one in differences if not one.kind.is_new]


class Level(StrEnum):
    """How bad a finding is."""

    BROKEN = "broken"
    UNKNOWN = "could not run"
    SLOW = "slow"
    NEW = "new"  # fields and words that the spec does not name


@dataclass(frozen=True, slots=True)
class Finding:
    """Everything that one cause explains."""

    level: Level
    cause: Cause
    results: Sequence[Result] = ()
    differences: Sequence[Difference] = ()
    note: str = ""

    @property
    def subjects(self) -> str:
        """The checks that failed, else the operations whose answers differ, else the note."""
        checks = {result.check.id: 0 for result in self.results}
        for result in self.results:
            checks[result.check.id] += bool(result.subject)
        said = [f"{check} of {number} task types" if number > 1 else check for check, number in checks.items()]
        said = said or list(dict.fromkeys(one.operation for one in self.differences)) or self.note.splitlines()
        more = f" and {len(said) - MOST_NAMED} more" if len(said) > MOST_NAMED else ""
        return ", ".join(said[:MOST_NAMED]) + more

    def __str__(self) -> str:
        return f"{self.cause.title} ({self.subjects})" if self.subjects else self.cause.title

    def details(self, most: int = MOST_SHOWN) -> Iterator[str]:
        """Yield what is wrong, with at most so many results and differences, and what to do."""
        if self.note:
            yield self.note
        for result in self.results[:most]:
            yield f"{result.check.id} {result.subject}".strip() + f": {result.detail}"
        yield from (str(one) for one in self.differences[:most])
        more = [f"{one.check.id} {one.subject}".strip() for one in self.results[most:]]
        more += [f"{one.operation} {one.part} {one.where}".strip() for one in self.differences[most:]]
        if more:
            yield f"also {', '.join(more)}"
        if self.cause.hint:
            yield f"hint: {self.cause.hint}"

    def lines(self, head: str) -> list[str]:
        """Return a head and the details; the only difference stands for a head that says the same."""
        lines = list(self.details())
        is_same = len(lines) == 1 == len(self.differences) and self.differences[0].came in self.cause.title
        return lines if is_same else [head, *lines]

    @property
    def files(self) -> list[str]:
        """The files of a recording that show it."""
        return list(dict.fromkeys(one.file for one in self.differences if one.file))


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
    cause: Cause | None = None  # what would explain everything that is broken
    files: Mapping[str, FileResult] = field(default_factory=dict[str, FileResult])
    seconds: float = 0.0  # the median duration of an answer
    headline: str = ""  # the verdict, where counts of checks do not say it
    rows: Sequence[Sequence[str]] = ()  # of a recording: the table by family, with its head

    @property
    def contradictions(self) -> list[Difference]:
        return _contradictions(self.differences)

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, by cause; what is broken comes first, and what many checks show."""
        if self.cause:
            level = Level.UNKNOWN if self.exit_code == 2 else Level.BROKEN
            return [Finding(level, self.cause, [one for one in self.results if one.outcome in FAILED])]
        found: dict[tuple[Level, str], tuple[Cause, list[Result], list[Difference]]] = {}
        for result in self.results:
            if result.outcome in FAILED:
                cause = result.cause or Cause(result.check.id)
                found.setdefault((Level(result.outcome.value), cause.id), (cause, [], []))[1].append(result)
        for one in self.differences:
            cause, level = cause_of(one), Level.NEW if one.kind.is_new else Level.BROKEN
            found.setdefault((level, cause.id), (cause, [], []))[2].append(one)
        findings = [Finding(level, *parts, self._files_with(parts[0])) for (level, _), parts in found.items()]
        if self.seconds >= SLOW:
            note = f"the median answer took {self.seconds:.1f} s; the limit is {SLOW:g} s"
            findings.append(Finding(Level.SLOW, causes.SLOW, note=note))
        if unread := [f"{name}: {file.unread}" for name, file in self.files.items() if file.unread]:
            findings.append(Finding(Level.UNKNOWN, UNREAD, note="\n".join(unread)))
        return sorted(findings, key=lambda one: (list(Level).index(one.level), -len(one.results)))

    def _files_with(self, cause: Cause) -> str:
        """Return a note on the files whose bodies show a cause; empty without files."""
        shown = {name: [cause_of(one).id for one in file.differences] for name, file in self.files.items()}
        names = [name for name, ids in shown.items() if cause.id in ids]
        return f"in {', '.join(names)}" if names else ""

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
        if self.headline:
            return self.headline
        counts = {outcome: sum(result.outcome is outcome for result in self.results) for outcome in Outcome}
        said = [f"{number} {outcome.value}" for outcome, number in counts.items() if number]
        if self.interrupted:
            said.append(self.cause.title if self.cause and not self.results else "interrupted")
        unread = sum(bool(file.unread) for file in self.files.values())
        said += [f"{counted(unread, 'file')} not read"] if unread else []
        said += [counted(len(self.contradictions), "difference")] if self.contradictions else []
        if new := len(self.differences) - len(self.contradictions):
            said.append(counted(new, "new field or word", "new fields and words"))
        said += ["slow"] if self.seconds >= SLOW else []
        word = ("kept", "broken", "not checked whole")[self.exit_code]
        return f"contract {word}: {', '.join(said) or ('nothing differs' if self.files else 'nothing to check')}"


def counted(number: int, one: str, more: str = "") -> str:
    """Return a number and what is counted, in the plural if need be."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def cause_of(one: Difference) -> Cause:
    """Return the cause of a difference; the same difference in the answers of many operations has one."""
    if one.kind is Kind.UNDOCUMENTED and one.says == "JSON":
        return causes.NOT_JSON if "application/json" in one.came else causes.CONTENT_TYPE
    if one.key[1] == "required" and one.part != "request":
        return causes.missing(one.came.removeprefix("none of "))
    name = one.came if one.kind is Kind.UNDOCUMENTED else one.where.rpartition("/")[2]
    side = "a request" if one.part == "request" else "an answer"
    title = f"{side} of {one.operation} {one.where}".strip()
    return Cause(f"{title}: {one.says}; came {one.came}", key=f"{one.kind} {side} {name}: {one.says}")


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
    """Return the report for a terminal, the summary first; control characters are shown by their numbers."""
    findings = report.findings
    parts = [report.verdict, report.title]
    parts += [f"{one.level.value:>{WIDTH}}  {one}" for one in findings[:MOST_FINDINGS]]
    if more := len(findings[MOST_FINDINGS:]):
        parts.append(f"{more:>{WIDTH}} more findings (all: --report FILE.html)")
    rows = ["".join(f"{cell:>{WIDTH}}" for cell in row) for row in table(report)]
    parts += [*(["", *rows] if rows else []), *_general(report), *_families(report)]
    for one in findings[:MOST_FINDINGS]:
        head, *lines = one.lines(one.cause.title)
        parts += [f"\n{one.level.value}: {head}", *(f"  {line}" for part in lines for line in part.splitlines())]
    if any(one.level is Level.NEW for one in findings):
        parts.append(f"\nnew: {ABOUT_NEW}")
    parts += [*_left_out(report), *_files(report), *money(report), *_patch(report)]
    return visible("\n".join(parts))


def _general(report: Report) -> Iterator[str]:
    of_provider = [result for result in report.results if not result.subject]
    if of_provider:
        yield ""
        for result in of_provider:
            if result.outcome is Outcome.LEFT_OUT:
                yield f"{'left out':>{WIDTH}}  {result.check.id}: {result.detail.partition(chr(10))[0]}"
        kept = sum(result.outcome is Outcome.KEPT for result in of_provider)
        yield f"{kept:>{WIDTH}} of {len(of_provider)} checks of the whole provider kept"


def _families(report: Report) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*report.rows, strict=True)]
    for number, row in enumerate(report.rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield line if number else f"\n{line}"


def _left_out(report: Report) -> Iterator[str]:
    reasons = left_out(report)
    for reason, names in list(reasons.items())[:MOST_SHOWN]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"\nleft out: {names[0]}{more}: {reason}"
    if others := sum(map(len, list(reasons.values())[MOST_SHOWN:])):
        yield f"\nleft out: {others} more for other reasons (details: --report FILE.html)"


def _files(report: Report) -> Iterator[str]:
    for name, file in report.files.items():
        if file.note:
            yield f"\n{name}: {file.note}"


def _patch(report: Report) -> Iterator[str]:
    if report.patch:
        files = len([line for line in report.patch.splitlines() if line.startswith("diff --git ")])
        size = f"{report.patch.count(chr(10))} lines in {files} files"
        yield f"\na change of the spec is proposed: {size}; --report FILE.patch writes it for a checkout of unitask"
