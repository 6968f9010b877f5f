"""The report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from unitask_contract.counter import ALL
from unitask_contract.hiding import visible
from unitask_contract.patches.proposals import Kind
from unitask_contract.reports.report import FAILED, Report, columns, left_out, money, share, table
from unitask_contract.runner import Outcome

WIDTH = 12
MOST = 20  # differences that are shown
SHOWN = 2  # of the task types that a check fails for


def text(report: Report) -> str:
    """The report for a terminal; characters that would control it are shown by their numbers."""
    parts = [f"{report.subject}{'' if report.seed is None else f', seed {report.seed}'}"]
    parts += [*_table(report), *_general(report)]
    parts += [f"\n{report.cause}"] if report.cause else [*_details(report), *_differences(report)]
    parts += [*_unread(report), *_coverage(report), *money(report)]
    parts += [f"\n{report.proposed} (--report FILE.patch writes it)"] if report.proposed else []
    return visible("\n".join([*parts, "", report.verdict]))


def _table(report: Report) -> Iterator[str]:
    rows = list(table(report))
    if rows:
        yield ""
        yield "".join(f"{title:>{WIDTH}}" for title in ("", *(check.id for check in columns(report))))
        for family, cells in rows:
            yield "".join(f"{cell:>{WIDTH}}" for cell in (family, *(share(*cell) for cell in cells)))


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
        for result in failed[:SHOWN]:
            yield f"\n{result.outcome.value}: {check.id} {result.subject}\n  {check.promise}"
            yield "\n".join(f"  {line}" for line in result.detail.splitlines())
        if unseen := [result.subject for result in failed[SHOWN:]]:
            yield f"\n{check.id} of {len(unseen)} more: {', '.join(unseen)} (--report FILE.html shows what was seen)"
    for reason, names in list(left_out(report).items())[:SHOWN]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"\nleft out: {names[0]}{more}: {reason}"
    if others := sum(map(len, list(left_out(report).values())[SHOWN:])):
        yield f"\nleft out: {others} more for other reasons (--report FILE.html has them)"


def _unread(report: Report) -> Iterator[str]:
    for name, note in report.notes.items():
        yield f"\n{name}: {note}"
    for name, reason in report.unread.items():
        yield f"\nnot read: {name}: {reason}"


def _differences(report: Report) -> Iterator[str]:
    for one in report.differences[:MOST]:
        yield f"\n{'new' if one.kind is Kind.NEW_FIELD else 'differs from the spec'}: {one}"
        if files := report.files_of(one):
            yield f"  in {', '.join(files)}"
    if more := len(report.differences[MOST:]):
        yield f"\n{more} differences more (--report FILE.html has them)"


def _coverage(report: Report) -> Iterator[str]:
    if report.coverage:
        told = ", ".join(f"{kind} {seen} of {every}" for kind, (seen, every) in report.coverage[ALL].items())
        yield f"\nexercised of the contract: {told} (family by family, and what was not, in --report FILE.html)"
