"""What came of a run, for people and for programs: a table, a page, JUnit and JSON. Nothing in it shows the key."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree as Xml

from unitask_contract.coverage.counting import ALL
from unitask_contract.patches.proposals import Difference, Kind
from unitask_contract.runner import GENERAL, OF_TASK_TYPES, Check, Outcome, Result

FAILED = (Outcome.BROKEN, Outcome.NOT_RUN)
WIDTH = 12
SHOWN = 2  # of the task types that a check fails for, in a terminal


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
        held_usd: What the creates were held to cost.
        limit_usd: What they could have cost.
        interrupted: Whether it ended before its last check.
        files: The differences of each file with a recorded body.
        unread: Why a file could not be checked, of each such.
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
    held_usd: float = 0.0
    limit_usd: float = math.inf
    interrupted: bool = False
    files: Mapping[str, Sequence[Difference]] = field(default_factory=dict[str, Sequence[Difference]])
    unread: Mapping[str, str] = field(default_factory=dict[str, str])

    def files_of(self, difference: Difference) -> list[str]:
        """The files whose bodies show a difference."""
        return [name for name, shown in self.files.items() if any(one.is_same(difference) for one in shown)]

    @property
    def contradictions(self) -> list[Difference]:
        """The differences that the spec forbids; the others are new fields."""
        return [difference for difference in self.differences if difference.kind is not Kind.NEWS]

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
        word = ("kept", "broken", "not run whole")[self.exit_code]
        return f"contract {word}: {', '.join(told) or 'nothing differs'}"


def text(report: Report) -> str:
    """The report for a terminal."""
    parts = [f"{report.subject}{'' if report.seed is None else f', seed {report.seed}'}"]
    parts += [*_table(report), *_general(report), *_details(report), *_unread(report), *_differences(report)]
    parts += [*_coverage(report), *_money(report), "", report.verdict]
    return "\n".join(parts)


def _columns(report: Report) -> list[Check]:
    made = {result.check.id for result in report.results}
    return [check for check in OF_TASK_TYPES if check.id in made]


def _cells(report: Report) -> Iterator[tuple[str, list[tuple[int, int, int]]]]:
    """Family by family: of each check of task types how many are kept, failed, and left out."""
    families = sorted({result.family for result in report.results if result.subject})
    for family in families:
        row: list[tuple[int, int, int]] = []
        for check in _columns(report):
            of_cell = [one for one in report.results if (one.family, one.check.id) == (family, check.id)]
            failed = sum(one.outcome in FAILED for one in of_cell)
            kept = sum(one.outcome is Outcome.KEPT for one in of_cell)
            row.append((kept, failed, len(of_cell) - kept - failed))
        yield family, row


def _cell(kept: int, failed: int, left_out: int) -> str:
    if not kept + failed:
        return "left out" if left_out else "-"
    return f"{kept} of {kept + failed}"


def _table(report: Report) -> Iterator[str]:
    rows = list(_cells(report))
    if rows:
        yield ""
        yield "".join(f"{title:>{WIDTH}}" for title in ("", *(check.id for check in _columns(report))))
        for family, cells in rows:
            yield "".join(f"{cell:>{WIDTH}}" for cell in (family, *(_cell(*cell) for cell in cells)))


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


def _left_out(report: Report) -> dict[str, list[str]]:
    """Why checks of task types were left out, and which."""
    found: dict[str, list[str]] = {}
    for result in report.results:
        if result.subject and result.outcome is Outcome.LEFT_OUT:
            found.setdefault(result.detail, []).append(f"{result.check.id} {result.subject}")
    return found


def _details(report: Report) -> Iterator[str]:
    for check in dict.fromkeys(result.check for result in report.results):
        failed = [result for result in report.results if result.check == check and result.outcome in FAILED]
        for result in failed[:SHOWN]:
            yield f"\n{result.outcome.value}: {check.id} {result.subject}\n  {check.promise}"
            yield "\n".join(f"  {line}" for line in result.detail.splitlines())
        if unseen := [result.subject for result in failed[SHOWN:]]:
            yield f"\n{check.id} of {len(unseen)} more: {', '.join(unseen)} (--report FILE.html shows what was seen)"
    for reason, names in list(_left_out(report).items())[:SHOWN]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"\nleft out: {names[0]}{more}: {reason}"
    if others := sum(map(len, list(_left_out(report).values())[SHOWN:])):
        yield f"\nleft out: {others} more for other reasons (--report FILE.html has them)"


def _unread(report: Report) -> Iterator[str]:
    for name, reason in report.unread.items():
        yield f"\nnot read: {name}: {reason}"


def _differences(report: Report) -> Iterator[str]:
    for one in report.differences:
        yield f"\n{'new' if one.kind is Kind.NEWS else 'differs from the spec'}: {one}"
        if files := report.files_of(one):
            yield f"  in {', '.join(files)}"
    if report.patch:
        yield f"\nproposed change of the spec:\n{report.patch}"


def _coverage(report: Report) -> Iterator[str]:
    if report.coverage:
        told = ", ".join(f"{kind} {seen} of {every}" for kind, (seen, every) in report.coverage[ALL].items())
        yield f"\nexercised of the contract: {told} (family by family, and what was not, in --report FILE.html)"


def _money(report: Report) -> Iterator[str]:
    if not math.isinf(report.limit_usd):
        yield f"\nat most ${report.held_usd:.4g} of ${report.limit_usd:.4g} spent, by the prices of the catalogue"


# --- for programs


def as_json(report: Report) -> str:
    """The report as JSON."""
    document = {
        "subject": report.subject,
        "seed": report.seed,
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "results": [
            {
                "check": result.check.id,
                "family": result.family,
                "task_type": result.subject or None,
                "outcome": result.outcome.value,
                "detail": result.detail,
                "seconds": round(result.seconds, 3),
            }
            for result in report.results
        ],
        "differences": [
            {"kind": one.kind.value, "family": one.family, "text": str(one), "evidence": one.evidence}
            for one in report.differences
        ],
        "files": {
            **{name: {"differences": [str(one) for one in shown]} for name, shown in report.files.items()},
            **{name: {"not_read": reason} for name, reason in report.unread.items()},
        },
        "patch": report.patch,
        "coverage": {
            family: {kind: {"exercised": seen, "all": every} for kind, (seen, every) in row.items()}
            for family, row in report.coverage.items()
        },
        "not_exercised": list(report.missing),
        "held_usd": report.held_usd,
    }
    return json.dumps(document, indent=2) + "\n"


def as_junit(report: Report) -> str:
    """The report in the form that CI services read: a suite a family, a case a check."""
    root = Xml.Element("testsuites", name="unitask contract")
    for family in sorted({result.family for result in report.results}):
        of_family = [result for result in report.results if result.family == family]
        suite = Xml.SubElement(root, "testsuite", name=family, tests=str(len(of_family)))
        for attribute, outcomes in {
            "failures": (Outcome.BROKEN,),
            "errors": (Outcome.NOT_RUN,),
            "skipped": (Outcome.LEFT_OUT,),
        }.items():
            suite.set(attribute, str(sum(result.outcome in outcomes for result in of_family)))
        for result in of_family:
            _case(suite, result)
    number = str(len(report.contradictions))
    suite = Xml.SubElement(root, "testsuite", name="spec", tests=number, failures=number)
    for one in report.contradictions:
        case = Xml.SubElement(suite, "testcase", classname="spec", name=_printable(f"{one.operation} {one.where}"))
        Xml.SubElement(case, "failure", message="differs from the spec").text = _printable(str(one))
    _bodies(root, report)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _bodies(root: Xml.Element, report: Report) -> None:
    """A suite of the recorded bodies, a case a file; a field that is new is no failure."""
    if not report.files and not report.unread:
        return
    broken = {name: [str(one) for one in shown if one.kind is not Kind.NEWS] for name, shown in report.files.items()}
    suite = Xml.SubElement(root, "testsuite", name="bodies", tests=str(len(broken) + len(report.unread)))
    suite.set("failures", str(sum(map(bool, broken.values()))))
    suite.set("errors", str(len(report.unread)))
    for name, shown in broken.items():
        case = Xml.SubElement(suite, "testcase", classname="bodies", name=_printable(name))
        if shown:
            Xml.SubElement(case, "failure", message="differs from the spec").text = _printable("\n".join(shown))
    for name, reason in report.unread.items():
        case = Xml.SubElement(suite, "testcase", classname="bodies", name=_printable(name))
        Xml.SubElement(case, "error", message="not read").text = _printable(reason)


def _case(suite: Xml.Element, result: Result) -> None:
    name = f"{result.check.id}[{result.subject}]" if result.subject else result.check.id
    case = Xml.SubElement(suite, "testcase", classname=result.family, name=name, time=f"{result.seconds:.3f}")
    tag = {Outcome.BROKEN: "failure", Outcome.NOT_RUN: "error", Outcome.LEFT_OUT: "skipped"}.get(result.outcome)
    if tag:
        detail = _printable(result.detail)
        Xml.SubElement(case, tag, message=detail.partition("\n")[0][:200]).text = detail


def _printable(text: str) -> str:
    """A text without the characters that XML does not have."""
    return "".join(
        letter for letter in text if letter in "\n\t" or 0x20 <= ord(letter) < 0xD800 or ord(letter) > 0xDFFF
    )


# --- for people


_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .6rem;border:1px solid #ddd;text-align:left}
td.kept{background:#e8f5e9}td.failed{background:#ffebee;font-weight:600}td.out{color:#777}
pre{background:#f6f6f6;padding:.8rem;overflow:auto}pre.seen{white-space:pre-wrap;overflow-wrap:anywhere}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
"""


_MEANING = """<p>The answers were held to the contract of the unified generation-task API.
<b>Broken</b>: what came is not what is promised; it is shown under "What was seen". Mend the provider, or, if it is the
spec that is wrong, apply the proposed change. <b>Could not run</b>: no usable answer came, so nothing is known.
<b>Left out</b>: not asked, with the reason; that is neither kept nor broken.</p>"""


def as_html(report: Report) -> str:
    """The report as one page that needs nothing else."""
    title = html.escape(report.subject)
    body = [f"<h1>{html.escape(report.verdict)}</h1><p>{title}"]
    body += ["" if report.seed is None else f", seed {report.seed}", f"</p>{_MEANING}", *_html_table(report)]
    body += [*_html_general(report), *_html_files(report), *_html_details(report), *_html_differences(report)]
    body += [*_html_left_out(report), *_html_coverage(report)]
    body += [f"<p>{html.escape(line)}</p>" for line in _money(report)]
    head = (
        f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>unitask contract: {title}</title>"
    )
    return (
        f"<!DOCTYPE html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _html_table(report: Report) -> Iterator[str]:
    rows = list(_cells(report))
    if not rows:
        return
    titles = "".join(f"<th title='{html.escape(check.promise, quote=True)}'>{check.id}" for check in _columns(report))
    yield f"<h2>Task types</h2><table><tr><th>family{titles}"
    for family, cells in rows:
        yield f"<tr><th>{html.escape(family)}"
        yield from (f"<td class={_class(*cell)}>{_cell(*cell)}" for cell in cells)
    yield "</table><details><summary>What each of them asks</summary><ul>"
    yield from (f"<li>{check.id}: {html.escape(check.promise)}" for check in _columns(report))
    yield "</ul></details>"


def _class(kept: int, failed: int, _left_out: int) -> str:
    return "failed" if failed else "kept" if kept else "out"


def _html_general(report: Report) -> Iterator[str]:
    of_provider = [result for result in report.results if not result.subject]
    if of_provider:
        yield f"<h2>The whole provider</h2><table id={GENERAL}>"
        for result in of_provider:
            kind = {Outcome.KEPT: "kept", Outcome.LEFT_OUT: "out"}.get(result.outcome, "failed")
            said = result.detail if result.outcome is Outcome.LEFT_OUT else result.check.promise
            word = result.outcome.value
            word = f"<a href='#{result.check.id}'>{word}</a>" if result.outcome in FAILED else word
            yield f"<tr><th>{result.check.id}<td class={kind}>{word}<td>{html.escape(said)}"
        yield "</table>"


def _html_files(report: Report) -> Iterator[str]:
    if report.files or report.unread:
        yield "<h2>Recorded bodies</h2><table><tr><th>file<th>outcome<th>what it is about"
        for name, shown in report.files.items():
            forbidden = [one for one in shown if one.kind is not Kind.NEWS]
            kind, word = ("failed", "broken") if forbidden else ("kept", "fits")
            told = "<br>".join(html.escape(str(one)) for one in shown)
            yield f"<tr><th>{html.escape(name)}<td class={kind}>{word}<td>{told}"
        for name, reason in report.unread.items():
            yield f"<tr><th>{html.escape(name)}<td class=failed>not read<td>{html.escape(reason)}"
        yield "</table>"


def _html_details(report: Report) -> Iterator[str]:
    failed = [result for result in report.results if result.outcome in FAILED]
    if failed:
        yield "<h2>What was seen</h2>"
    for result in failed:
        name = f"{result.check.id} {html.escape(result.subject)}".strip()
        yield f"<h3 id='{name.replace(' ', '-')}'>{result.outcome.value}: {name}</h3>"
        yield f"<p>{html.escape(result.check.promise)}</p><pre class=seen>{html.escape(result.detail)}</pre>"


def _html_left_out(report: Report) -> Iterator[str]:
    reasons = _left_out(report)
    if reasons:
        yield "<h2>What was left out of the task types</h2><table><tr><th>reason<th>checks"
        for reason, names in reasons.items():
            yield f"<tr><td>{html.escape(reason)}<td>{html.escape(', '.join(names))}"
        yield "</table>"


def _html_differences(report: Report) -> Iterator[str]:
    if report.differences:
        yield "<h2>Differences to the spec</h2><table><tr><th>kind<th>family<th>difference"
        for one in report.differences:
            kind = "out" if one.kind is Kind.NEWS else "failed"
            yield f"<tr><td class={kind}>{one.kind.value}<td>{html.escape(one.family)}<td>{html.escape(str(one))}"
        yield "</table>"
    if report.patch:
        yield "<h2>Proposed change of the spec</h2><p>For the case that the provider is right and the spec is wrong: "
        yield "<code>--report FILE.patch</code>, then <code>git apply FILE.patch</code> in a checkout of unitask.</p>"
        yield f"<pre>{html.escape(report.patch)}</pre>"


def _html_coverage(report: Report) -> Iterator[str]:
    if report.coverage:
        kinds = list(report.coverage[ALL])
        yield f"<h2>Exercised of the contract</h2><table><tr><th>family{''.join(f'<th>{kind}' for kind in kinds)}"
        for family, row in report.coverage.items():
            cells = ("<td>{} of {}".format(*row[kind]) if kind in row else "<td>-" for kind in kinds)
            yield f"<tr><th>{html.escape(family)}{''.join(cells)}"
        yield "</table><details><summary>What was not</summary><ul>"
        yield from (f"<li>{html.escape(one)}" for one in report.missing)
        yield "</ul></details>"


def as_patch(report: Report) -> str:
    """The proposed change of the spec, for `git apply`."""
    return report.patch


FORMS: Mapping[str, Callable[[Report], str]] = {
    ".html": as_html,
    ".xml": as_junit,
    ".json": as_json,
    ".patch": as_patch,
}
"""What writes a report, by the ending of the file."""
