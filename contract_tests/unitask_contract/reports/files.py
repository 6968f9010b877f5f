"""The report as files: for people, for CI services, for programs, for `git apply`. Nothing in them shows the key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from xml.etree import ElementTree as Xml

from unitask_contract.patches.proposals import Kind
from unitask_contract.reports.page import as_html
from unitask_contract.reports.report import Report
from unitask_contract.runner import Outcome, Result


def as_json(report: Report) -> str:
    """The report as JSON."""
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
            **{
                name: {"read_as": report.notes.get(name), "differences": [str(one) for one in shown]}
                for name, shown in report.files.items()
            },
            **{name: {"not_read": reason} for name, reason in report.unread.items()},
        },
        "patch": report.patch,
        "coverage": {
            family: {kind: {"exercised": seen, "all": every} for kind, (seen, every) in row.items()}
            for family, row in report.coverage.items()
        },
        "not_exercised": list(report.missing),
        "held_usd": report.held_usd,
        "creates_of_unknown_price": report.unpriced,
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
    broken = {
        name: [str(one) for one in shown if one.kind is not Kind.NEW_FIELD] for name, shown in report.files.items()
    }
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
    return "".join(
        letter for letter in text if letter in "\n\t" or 0x20 <= ord(letter) < 0xD800 or ord(letter) > 0xDFFF
    )


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
