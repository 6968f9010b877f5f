"""The report as a file: HTML, JUnit, JSON, SARIF or the patch; and as annotations. No key is shown in any of them."""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from xml.etree import ElementTree as Xml

from unitask_contract.report import ABOUT_NEW, FAILED, UNREAD, Level, Report, left_out, money, table
from unitask_contract.runner import Outcome
from unitask_contract.sarif import as_sarif

_NOT_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\U0010ffff]")
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .6rem;border:1px solid #ddd;text-align:left}
td.kept{background:#e8f5e9}td.failed{background:#ffebee;font-weight:600}
pre{background:#f6f6f6;padding:.8rem;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
"""
_MEANING = f"""<p><b>Broken</b>: an answer is not what the contract promises. Fix the provider, or, if the spec is
wrong, apply the proposed change. <b>Could not run</b>: there was no usable answer, so nothing is known.
<b>Left out</b>: not checked, for the given reason. <b>New</b>: {ABOUT_NEW}</p>"""
_COLOURS = {"kept": "kept", "fits": "kept", "broken": "failed", "could not run": "failed", "not read": "failed"}


def as_html(report: Report) -> str:
    """Return the report as one page without other files."""
    title = html.escape(report.title)
    findings = [[one.level.value, one.cause.title, one.subjects] for one in report.findings]
    parts = [f"<h1>{html.escape(report.verdict)}</h1><p>{title}</p>{_MEANING}"]
    parts += _table("Findings", ["outcome", "cause", "where"], *findings)
    parts += [*_table("Task types", *table(report)), *_table("The whole provider", *_general(report))]
    parts += [*_table("Recorded bodies", *_files(report)), *_table("Recorded exchanges", *report.rows)]
    for one in report.findings:
        parts.append(f"<h3>{one.level.value}: {html.escape(one.cause.title)}</h3>")
        parts += [
            f"<pre>{html.escape(detail)}</pre>" for detail in one.details(len(report.results) + len(report.differences))
        ]
    reasons = [[reason, ", ".join(names)] for reason, names in left_out(report).items()]
    parts += _table("What was left out of the task types", ["reason", "checks"], *reasons)
    parts += [f"<p>{html.escape(line)}</p>" for line in money(report)]
    if report.patch:
        parts.append("<h2>Proposed change of the spec</h2><p>If the spec is wrong, write it with <code>--report")
        parts.append(" FILE.patch</code>, and apply it with <code>git apply FILE.patch</code> in a checkout.</p>")
        parts.append(f"<pre>{html.escape(report.patch)}</pre>")
    return (
        f"<!DOCTYPE html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>unitask contract: {title}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _table(title: str, head: Sequence[str] = (), *rows: Sequence[str]) -> Iterator[str]:
    if rows:
        yield f"<h2>{title}</h2><table><tr>{''.join(f'<th>{html.escape(name)}' for name in head)}"
        for row in rows:
            yield f"<tr>{''.join(f'<td class={_colour(cell)}>{html.escape(cell)}' for cell in row)}"
        yield "</table>"


def _colour(cell: str) -> str:
    """Return the class of an outcome, or of a share such as "3 of 4"."""
    kept, _, of = cell.partition(" of ")
    return _COLOURS.get(cell) or (("kept" if kept == of else "failed") if kept.isdecimal() else "plain")


def _general(report: Report) -> Iterator[Sequence[str]]:
    yield "check", "outcome", "promise, or reason"
    for result in report.results:
        if not result.subject:
            said = result.detail if result.outcome is Outcome.LEFT_OUT else result.check.promise
            yield result.check.id, result.outcome.value, said


def _files(report: Report) -> Iterator[Sequence[str]]:
    is_broken = bool(report.rows and report.contradictions)  # of a recording, the only file
    yield "file", "outcome", "what was found"
    for name, file in report.files.items():
        outcome = "not read" if file.unread else "broken" if file.contradictions or is_broken else "fits"
        yield name, outcome, "; ".join(filter(None, [file.unread, file.note, *map(str, file.differences)]))


def as_json(report: Report) -> str:
    """Return the report as JSON."""
    document = {
        "subject": report.subject,
        "seed": report.seed,
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "findings": [
            {
                "outcome": one.level.value,
                "cause": one.cause.title,
                "hint": one.cause.hint or None,
                "checks": [" ".join(filter(None, [result.check.id, result.subject])) for result in one.results],
                "differences": [str(difference) for difference in one.differences],
                "note": one.note or None,
            }
            for one in report.findings
        ],
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


_TAGS = {Outcome.BROKEN: "failure", Outcome.NOT_RUN: "error", Outcome.LEFT_OUT: "skipped", Outcome.KEPT: ""}


def as_junit(report: Report) -> str:
    """Return the report for CI services: a suite for each family, for the spec and for the files."""
    suites: dict[str, list[Xml.Element]] = {"spec": []}
    first = {one.cause.id: one.results[0] for one in report.findings if one.results}
    said = {id(one.results[0]): "\n".join([one.cause.title, *one.details()]) for one in report.findings if one.results}
    for result in report.results:
        name = f"{result.check.id}[{result.subject}]" if result.subject else result.check.id
        tag, detail = _TAGS[result.outcome], said.get(id(result), result.detail)
        if result.outcome in FAILED and id(result) not in said:  # a cause fails once
            cause = report.cause or result.cause
            tag, detail = "skipped", f"it has the cause of {first[cause.id].check.id if cause else 'another check'}"
        case = _case(result.family, name, tag, detail)
        case.set("time", f"{result.seconds:.3f}")
        suites.setdefault(result.family, []).append(case)
    for one in report.findings:
        if one.level in (Level.BROKEN, Level.UNKNOWN) and not one.results and one.cause != UNREAD:
            tag = "failure" if one.level is Level.BROKEN else "error"
            suites["spec"].append(_case("spec", one.cause.title, tag, "\n".join(one.details())))
    for path, file in report.files.items():
        tag = "error" if file.unread else "failure" if file.contradictions else ""
        case = _case("bodies", path, tag, file.unread or "\n".join(map(str, file.contradictions)))
        suites.setdefault("bodies", []).append(case)
    root = Xml.Element("testsuites", name="unitask contract")
    for name, cases in suites.items():
        tags = [part.tag for case in cases for part in case]
        numbers = {"failures": "failure", "errors": "error", "skipped": "skipped"}
        counts = {attribute: str(tags.count(tag)) for attribute, tag in numbers.items()}
        Xml.SubElement(root, "testsuite", {"name": name, "tests": str(len(cases)), **counts}).extend(cases)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: str, name: str, tag: str, detail: str) -> Xml.Element:
    case = Xml.Element("testcase", classname=suite, name=_NOT_XML.sub("", name))
    if tag:
        text = _NOT_XML.sub("", detail)
        Xml.SubElement(case, tag, message=text.partition("\n")[0][:200]).text = text
    return case


_COMMANDS = {Level.BROKEN: "error", Level.UNKNOWN: "warning", Level.SLOW: "warning", Level.NEW: "notice"}


def annotations(report: Report) -> Iterator[str]:
    """Yield a workflow command of GitHub for each finding."""
    for one in report.findings:
        places = [f"file={_property(file)},line=1," for file in one.files[:1]]
        title = _property(f"unitask contract: {one.cause.title}")
        text = _escaped("\n".join(one.lines(str(one))))
        yield f"::{_COMMANDS[one.level]} {''.join(places)}title={title}::{text}"


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


FORMS: Mapping[str, Callable[[Report], str]] = {
    ".html": as_html,
    ".xml": as_junit,
    ".json": as_json,
    ".sarif": as_sarif,
    ".patch": lambda report: report.patch,
}
"""The form of a report, by the ending of the file."""
