"""How strong the checks are: `make score` prints it, writes out/score.json and .md, and fails when a gate is missed.

wrong answers     every documented answer changed in one step, read by the wrapper, and by the generated client alone
named faults      what goes wrong on the way (docs/faults.md), met by both clients
planted faults    a client that is wrong in one place
defects           a provider that is wrong in one place: which check of a provider finds it, and which alone does;
                      and one that is right, asked with other seeds
spec              one-change mutants of the real spec, and the semver level that each is given
wrapper           changes of the wrapper: the last whole `make mutants`, as it wrote it; else not measured
coverage          what of the contract is exercised
"""

from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from generator.changes import changes, verdict
from unitask_contract import runner
from unitask_contract.counter import ALL, Coverage
from unitask_contract.mutation import BAD, Mutant, Verdict, ask, ask_generated, judged, mutants

from contract_tests.support.defective_provider import DEFECTS
from contract_tests.support.exerciser import exercise
from spec.tests.test_changes import BASE, MUTANTS

from .core_mutants import measured
from .mutation_score import kills, quiet

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out"
SEEDS = range(20)
PLANTED = "contract_tests/test_planted_faults.py::test_planted_fault_is_found"
NAMED = "contract_tests/test_fault_library.py::test_named_fault_ends_as_the_library_says"


@dataclass(frozen=True, slots=True)
class Measure:
    """How many of how many were found, and how many have to be.

    Attributes:
        wanted: The least share, from 0 to 1.
        least: How many there have to be at all.
    """

    name: str
    found: int
    of: int
    wanted: float = 1.0
    least: int = 1

    @property
    def met(self) -> bool:
        """Whether the gate is met."""
        return self.of >= self.least and self.found >= self.wanted * self.of

    @property
    def verdict(self) -> str:
        """The gate in a word."""
        return "yes" if self.met else "NO" if self.of else "not measured"


def main() -> int:
    """Count, print and write; 1 when a gate is missed."""
    logging.disable()  # an unknown status is a warning, and there are thousands
    answers = _answers()
    by_defect = kills()
    exercised = exercise()
    alarms = Measure("runs with other seeds without a false alarm", quiet(SEEDS), len(SEEDS))
    measures = [*_wrong(answers), *_measures(), _defects(by_defect), alarms, *_coverage(exercised.coverage)]
    idle = [check.id for check in runner.chosen() if not any(check.id in found for found in by_defect.values())]
    text = "\n\n".join([_page(measures), _answers_page(answers), _checks_page(by_defect)])
    wrong = [f"{name} finds no defect" for name in idle] + [f"disagreement: {one}" for one in exercised.disagreements]
    text = "\n".join([text, *wrong])
    print(text)
    OUT.mkdir(exist_ok=True)
    (OUT / "score.md").write_text(f"# Score\n\n{text}\n", encoding="utf-8")
    document = {
        "measures": [{**asdict(one), "met": one.met, "verdict": one.verdict} for one in measures],
        "wrong_answers": answers,
        "defects": {defect: sorted(found) for defect, found in by_defect.items()},
        "wrong": wrong,
    }
    (OUT / "score.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return int(bool(wrong) or not all(one.met for one in measures))


def _wrong(answers: Mapping[str, Mapping[str, int]]) -> list[Measure]:
    name = "wrong answers reported, or tolerated by name"
    return [
        Measure(f"{name}: {client}", sum(counts.values()) - sum(counts[bad] for bad in BAD), sum(counts.values()))
        for client, counts in answers.items()
    ]


def _measures() -> list[Measure]:
    levels = [(level, _level(change)) for level, _, change in MUTANTS]
    breaking = [told == level for level, told in levels if level == "major"]
    named, planted = _passed(NAMED), _passed(PLANTED)
    return [
        Measure("named faults that end as they must, with both clients", *named),
        Measure("planted faults of a client found", *planted),
        Measure("breaking changes of the spec called so", sum(breaking), len(breaking), least=60),
        Measure("changes of the spec given the right level", sum(a == b for a, b in levels), len(levels)),
        wrapper(),
    ]


def _defects(by_defect: Mapping[str, frozenset[str]]) -> Measure:
    return Measure("defects of a provider found", sum(map(bool, by_defect.values())), len(DEFECTS), least=40)


def _coverage(coverage: Coverage) -> list[Measure]:
    wanted = {"fields": 0.95, "words": 0.95}
    rows = coverage.numbers()[ALL].items()
    return [Measure(f"{kind} of the contract exercised", *row, wanted=wanted.get(kind, 1.0)) for kind, row in rows]


def _answers() -> dict[str, dict[str, int]]:
    found = mutants()
    return {"wrapper": _counted(found, ask), "generated client": _counted(found, ask_generated)}


def _counted(found: tuple[Mutant, ...], call: Callable[[Mutant], Any]) -> dict[str, int]:
    counts = Counter(judged(one, call)[0] for one in found)
    return {verdict.value: counts[verdict] for verdict in Verdict}


def _level(change: Callable[[dict[str, Any]], object]) -> str:
    changed = copy.deepcopy(BASE)
    change(changed)
    return verdict(changes(BASE, changed))


def _passed(tests: str) -> tuple[int, int]:
    """How many of some tests pass, of how many."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "junit.xml")
        command = [sys.executable, "-m", "pytest", "--quiet", tests, f"--junit-xml={report}"]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        (suite,) = ElementTree.parse(report).getroot()
    number = int(suite.attrib["tests"])
    return number - sum(int(suite.attrib[name]) for name in ("failures", "errors", "skipped")), number


def wrapper() -> Measure:
    """The share of changes of the wrapper that are noticed; not measured unless `make mutants` ran on these sources."""
    found = measured()
    name = "changes of the wrapper noticed"
    if found is None:
        return Measure(f"{name} (run make mutants first)", 0, 0, wanted=0.95)
    return Measure(name, *found, wanted=0.95)


def _page(measures: list[Measure]) -> str:
    rows = [(one.name, f"{one.found:,}", f"{one.of:,}", f"{one.wanted:.0%}", one.verdict) for one in measures]
    return _table(("measure", "found", "of", "wanted", "met"), rows)


def _answers_page(answers: Mapping[str, Mapping[str, int]]) -> str:
    number = sum(answers["wrapper"].values())
    head = f"{number:,} documented answers, each changed in one step:\n\n"
    return head + _table(("", *Verdict), [(name, *map(str, row.values())) for name, row in answers.items()])


def _checks_page(by_defect: Mapping[str, frozenset[str]]) -> str:
    """Check by check: what it finds of the planted defects, and what no other check finds."""
    rows = []
    for check in runner.chosen():
        found = [defect for defect, ids in by_defect.items() if check.id in ids]
        alone = [defect for defect in found if len(by_defect[defect]) == 1]
        rows.append((check.id, str(len(found)), ", ".join(alone) or "-"))
    head = f"Of {len(by_defect)} defects planted in a provider, one at a time:\n\n"
    return head + _table(("check", "finds", "alone"), sorted(rows, key=lambda row: -int(row[1])))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
