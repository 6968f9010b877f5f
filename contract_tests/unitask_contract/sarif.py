"""The report as SARIF 2.1.0, as GitHub code scanning reads it.

A result is a finding; a rule is a check with its promise, or the comparison with the spec. GitHub requires a place in a
file for each result: the exchange of a recording, else the fragment of the spec with the schema or the operation.
"""

import hashlib
import json
import re
from functools import cache
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from unitask_contract.patches.proposals import CHANGES, spec_folder
from unitask_contract.report import Finding, Level, Report
from unitask_contract.runner import chosen

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
HELP = "https://github.com/unitask/unitask/blob/main/docs/ci.md"
MOST_PLACES = 10  # that GitHub shows of a result
_LEVELS = {Level.BROKEN: "error", Level.UNKNOWN: "warning", Level.SLOW: "warning", Level.NEW: "note"}
_SPEC = "spec", "Each answer has the schema that the spec has for it."
_SPEED = "speed", "Answers come at once."
_PROVIDER = "provider", "The provider can be checked."


def as_sarif(report: Report) -> str:
    """Return the report as SARIF: a result for each finding."""
    checks = {check.id: check.promise for check in chosen()}
    others = [(one.check.id, one.check.promise) for one in report.results]
    promises = dict([*checks.items(), *others, _SPEC, _SPEED, _PROVIDER])
    rules = [
        {
            "id": name,
            "name": "".join(word.title() for word in name.split("_")),
            "shortDescription": {"text": promise},
            "fullDescription": {"text": promise},
            "help": {"text": f"`unitask contract --checks {name}` runs this check." if name in checks else promise},
            "helpUri": HELP,
            "defaultConfiguration": {"level": "error"},
            "properties": {"tags": ["contract"]},
        }
        for name, promise in promises.items()
    ]
    driver = {"name": "unitask contract", "version": version("unitask"), "informationUri": HELP, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "results": [_result(one, list(promises)) for one in report.findings],
        "invocations": [{"executionSuccessful": report.exit_code != 2, "exitCode": report.exit_code}],
        "properties": {"subject": report.title, "verdict": report.verdict},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(one: Finding, rules: list[str]) -> dict[str, Any]:
    if one.results:
        rule = one.results[0].check.id
    else:
        rule = (_SPEC if one.differences else _SPEED if one.level is Level.SLOW else _PROVIDER)[0]
    places = dict.fromkeys(difference.key[0] if difference.key[1] else "" for difference in one.differences)
    needles = [f"{place.split('/')[3]}:" for place in places if place.startswith("#/components/")]
    operations = [*(each.operation for each in one.differences), *(each.operation for each in one.results)]
    needles += [f"operationId: {name}" for name in operations if name]
    found = [(quote(file), 1) for file in one.files] or list(dict.fromkeys(map(_place, needles or [""])))
    return {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": _LEVELS[one.level],
        "message": {"text": "\n".join(one.lines(str(one)))},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": file}, "region": {"startLine": line}}}
            for file, line in found[:MOST_PLACES]
        ],
        "partialFingerprints": {"primaryLocationLineHash": hashlib.sha256(one.cause.id.encode()).hexdigest()[:16]},
    }


def _place(needle: str) -> tuple[str, int]:
    """Return file and line of the spec that has a component or an operation; else the file that a patch changes."""
    return _places().get(needle, (f"spec/{CHANGES}", 1))


@cache
def _places() -> dict[str, tuple[str, int]]:
    folder, found = spec_folder(), dict[str, tuple[str, int]]()
    for path in sorted(folder.rglob("*.yaml")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.fullmatch(r"(  )?[A-Z]\w+:| +operationId: \w+", line):
                found.setdefault(line.strip(), (f"spec/{path.relative_to(folder).as_posix()}", number))
    return found
