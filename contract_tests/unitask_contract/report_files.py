"""The report as a file: HTML, JUnit, JSON, or the patch. No key is shown in any of them."""

import html
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from xml.etree import ElementTree as Xml

from unitask_contract.patches.proposals import Kind
from unitask_contract.report import FAILED, Report, columns, left_out, money, share, table
from unitask_contract.runner import Outcome

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .6rem;border:1px solid #ddd;text-align:left}
td.kept{background:#e8f5e9}td.failed{background:#ffebee;font-weight:600}td.out{color:#777}
pre{background:#f6f6f6;padding:.8rem;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
"""
_MEANING = """<p><b>Broken</b>: an answer is not what the contract promises; see "What was seen". Fix the provider, or,
if the spec is wrong, apply the proposed change. <b>Could not run</b>: there was no usable answer, so nothing is known.
<b>Left out</b>: not checked, for the given reason.</p>"""
Cell = str | tuple[str, str]  # text, or text and class


def as_html(report: Report) -> str:
    """Return the report as one page without other files."""
    title = html.escape(report.subject)
    seed = "" if report.seed is None else f", seed {report.seed}"
    body = [f"<h1>{html.escape(report.verdict)}</h1><p>{title}{seed}</p>{_MEANING}"]
    body += [f"<p><b>{html.escape(report.cause)}</b></p>"] if report.cause else []
    body += [*_task_types(report), *_general(report), *_files(report), *_details(report)]
    differences: list[list[Cell]] = [
        [(one.kind.value, "out" if one.kind is Kind.NEW_FIELD else "failed"), one.family, str(one)]
        for one in report.differences
    ]
    body += _table("Differences to the spec", ["kind", "family", "difference"], differences)
    if report.patch:
        body.append("<h2>Proposed change of the spec</h2><p>If the spec is wrong, write it with <code>--report")
        body.append(" FILE.patch</code>, and apply it with <code>git apply FILE.patch</code> in a checkout.</p>")
        body.append(f"<pre>{html.escape(report.patch)}</pre>")
    reasons = [[reason, ", ".join(names)] for reason, names in left_out(report).items()]
    body += _table("What was left out of the task types", ["reason", "checks"], reasons)
    body += [f"<p>{html.escape(line)}</p>" for line in money(report)]
    return (
        f"<!DOCTYPE html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>unitask contract: {title}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[Cell]]) -> Iterator[str]:
    lines = [list(row) for row in rows]
    if not lines:
        return
    yield f"<h2>{title}</h2><table><tr>{''.join(f'<th>{html.escape(name)}' for name in head)}"
    for line in lines:
        yield "<tr>"
        for cell in line:
            text, kind = (cell, "") if isinstance(cell, str) else cell
            yield f"<td class='{kind}'>{html.escape(text)}"
    yield "</table>"


def _task_types(report: Report) -> Iterator[str]:
    rows: list[list[Cell]] = [
        [family, *((share(*cell), "failed" if cell[1] else "kept" if cell[0] else "out") for cell in cells)]
        for family, cells in table(report)
    ]
    yield from _table("Task types", ["family", *(check.id for check in columns(report))], rows)
    promises = [f"<li>{check.id}: {html.escape(check.promise)}" for check in columns(report)]
    if promises:
        yield f"<details><summary>The promises</summary><ul>{''.join(promises)}</ul></details>"


def _general(report: Report) -> Iterator[str]:
    rows: list[list[Cell]] = []
    for result in report.results:
        if not result.subject:
            kind = {Outcome.KEPT: "kept", Outcome.LEFT_OUT: "out"}.get(result.outcome, "failed")
            said = result.detail if result.outcome is Outcome.LEFT_OUT else result.check.promise
            rows.append([result.check.id, (result.outcome.value, kind), said])
    yield from _table("The whole provider", ["check", "outcome", "promise, or reason"], rows)


def _files(report: Report) -> Iterator[str]:
    rows: list[list[Cell]] = []
    for name, file in report.files.items():
        outcome: Cell = ("broken", "failed") if file.contradictions else ("fits", "kept")
        said = "; ".join([*([file.note] if file.note else []), *map(str, file.differences)])
        rows.append([name, ("not read", "failed"), file.unread] if file.unread else [name, outcome, said])
    yield from _table("Recorded bodies", ["file", "outcome", "what was found"], rows)


def _details(report: Report) -> Iterator[str]:
    failed = [result for result in report.results if result.outcome in FAILED]
    if failed:
        yield "<h2>What was seen</h2>"
    for result in failed:
        yield f"<h3>{result.outcome.value}: {result.check.id} {html.escape(result.subject)}</h3>"
        yield f"<p>{html.escape(result.check.promise)}</p><pre>{html.escape(result.detail)}</pre>"


def as_json(report: Report) -> str:
    """Return the report as JSON."""
    document = {
        "subject": report.subject,
        "seed": report.seed,
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "cause": report.cause or None,
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
            name: {"not_read": file.unread}
            if file.unread
            else {"read_as": file.note or None, "differences": [str(one) for one in file.differences]}
            for name, file in report.files.items()
        },
        "patch": report.patch,
        "held_usd": report.held_usd,
        "submissions_of_unknown_price": report.unpriced,
    }
    return json.dumps(document, indent=2) + "\n"


_TAGS = {Outcome.BROKEN: "failure", Outcome.NOT_RUN: "error", Outcome.LEFT_OUT: "skipped"}


def as_junit(report: Report) -> str:
    """Return the report for CI services: a suite for each family, for the spec and for the files."""
    root = Xml.Element("testsuites", name="unitask contract")
    for family in sorted({result.family for result in report.results}):
        suite = Xml.SubElement(root, "testsuite", name=family)
        for result in report.results:
            if result.family == family:
                name = f"{result.check.id}[{result.subject}]" if result.subject else result.check.id
                case = _case(suite, name, _TAGS.get(result.outcome, ""), result.detail)
                case.set("time", f"{result.seconds:.3f}")
    suite = Xml.SubElement(root, "testsuite", name="spec")
    for one in report.contradictions:
        _case(suite, f"{one.operation} {one.where}", "failure", str(one))
    if report.files:
        suite = Xml.SubElement(root, "testsuite", name="bodies")
    for name, file in report.files.items():
        tag = "error" if file.unread else "failure" if file.contradictions else ""
        _case(suite, name, tag, file.unread or "\n".join(file.contradictions))
    for suite in root:
        suite.set("tests", str(len(suite)))
        for attribute, tag in {"failures": "failure", "errors": "error", "skipped": "skipped"}.items():
            suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Xml.Element, name: str, tag: str, detail: str) -> Xml.Element:
    case = Xml.SubElement(suite, "testcase", classname=str(suite.get("name")), name=_printable(name))
    if tag:
        text = _printable(detail)
        Xml.SubElement(case, tag, message=text.partition("\n")[0][:200]).text = text
    return case


def _printable(text: str) -> str:
    return "".join(
        letter for letter in text if letter in "\n\t" or 0x20 <= ord(letter) < 0xD800 or ord(letter) > 0xDFFF
    )


def as_patch(report: Report) -> str:
    """Return the proposed change of the spec, for `git apply`."""
    return report.patch


FORMS: Mapping[str, Callable[[Report], str]] = {
    ".html": as_html,
    ".xml": as_junit,
    ".json": as_json,
    ".patch": as_patch,
}
"""The form of a report, by the ending of the file."""
