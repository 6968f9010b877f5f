"""Measure how strong the checks are: `make score` prints a table, writes out/score.md, and fails when a gate is missed.

Wrong answers and faults are for the clients, planted defects for the checks of a provider, one at a time.
"""

import copy
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from unitask_contract import bundle, provider, runner
from unitask_contract.changes import changes, verdict
from unitask_contract.checks import fuzz
from unitask_contract.runner import Check, Outcome

from contract_tests.support.defective_provider import DEFECTS, defective
from contract_tests.support.exerciser import exercise
from contract_tests.support.mutation import BAD, ask, ask_generated, judged, mutants
from spec.tests.test_changes import BASE, MUTANTS

from .mutants import measured

ROOT = Path(__file__).resolve().parents[1]
SEEDS = range(20)
EXAMPLES = 10  # generated requests for each operation; the defects are coarse
TASK_TYPES = ("FaceSwap", "FluxSchnellTxt2Img", "HailuoVideo")
GENERATED = {check.id: check.run for check in runner.chosen() if check.run.__module__ == fuzz.__name__}
NOTICED_MUTANTS = 0.95  # some mutants are equivalent: no test can notice them
PLANTED = "contract_tests/test_planted_faults.py::test_planted_fault_is_found"
NAMED = "contract_tests/test_fault_library.py::test_named_fault_ends_as_the_library_says"


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure and its gate: the least share that has to be found, from 0 to 1, of a least number of cases."""

    name: str
    found: int
    of: int
    wanted: float = 1.0
    least: int = 1

    @property
    def met(self) -> bool:
        return self.of >= self.least and self.found >= self.wanted * self.of

    @property
    def verdict(self) -> str:
        return "yes" if self.met else "NO" if self.of else "not measured"


def main() -> int:
    """Take all measures, and print and write the table; return 1 when a gate is missed."""
    logging.disable()
    calls = {"wrapper": ask, "generated client": ask_generated}
    reported = {client: sum(judged(one, call)[0] not in BAD for one in mutants()) for client, call in calls.items()}
    defects = dict(zip(DEFECTS, _each(found_by, DEFECTS), strict=True))
    exercised = exercise()
    measures = [
        *(
            Measure(f"wrong answers reported, or tolerated by name: {client}", found, len(mutants()))
            for client, found in reported.items()
        ),
        Measure("named faults that end as documented, with both clients", *_passed(NAMED)),
        Measure("planted faults of a client found", *_passed(PLANTED)),
        *of_spec(),
        wrapper(),
        *of_provider(defects),
    ]
    exercised_of = exercised.coverage.numbers().items()
    measures += [Measure(f"{kind} of the contract exercised", *row) for kind, row in exercised_of]
    idle = [check.id for check in runner.chosen() if not any(check.id in found for found in defects.values())]
    problems = [f"{name} finds no defect" for name in idle]
    problems += [f"disagreement: {one}" for one in exercised.disagreements]
    text = "\n\n".join([_table(measures), *problems])
    print(text)
    (ROOT / "out").mkdir(exist_ok=True)
    (ROOT / "out" / "score.md").write_text(f"# Score\n\n{text}\n", encoding="utf-8")
    return int(bool(problems) or not all(one.met for one in measures))


def _passed(tests: str) -> tuple[int, int]:
    """Run some tests; return how many pass, and how many there are."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "junit.xml")
        command = [sys.executable, "-m", "pytest", "--quiet", tests, f"--junit-xml={report}"]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        (suite,) = ElementTree.parse(report).getroot()
    number = int(suite.attrib["tests"])
    return number - sum(int(suite.attrib[name]) for name in ("failures", "errors", "skipped")), number


def of_spec() -> list[Measure]:
    """Measure the semver levels; each operation has to have two breaking changes: of its request and of its answer."""
    levels: list[tuple[str, str]] = []
    for level, _, change in MUTANTS:
        changed = copy.deepcopy(BASE)
        change(changed)
        levels.append((level, verdict(changes(BASE, changed))))
    breaking = [given == level for level, given in levels if level == "major"]
    least = 2 * len(bundle.operations())
    return [
        Measure("breaking changes of the spec called so", sum(breaking), len(breaking), least=least),
        Measure("changes of the spec given the right level", sum(a == b for a, b in levels), len(levels)),
    ]


def wrapper() -> Measure:
    """Measure the share of noticed mutants of the wrapper; not measured unless `make mutants` ran on these sources."""
    return Measure("changes of the wrapper noticed (by make mutants)", *(measured() or (0, 0)), NOTICED_MUTANTS)


def of_provider(defects: Mapping[str, frozenset[str]]) -> list[Measure]:
    """Measure the checks of a provider; there have to be as many defects as checks."""
    found = sum(map(bool, defects.values()))
    return [
        Measure("defects of a provider found", found, len(DEFECTS), least=len(runner.chosen())),
        Measure("runs with other seeds without a false alarm", sum(_each(_is_quiet, SEEDS)), len(SEEDS)),
    ]


def _each(function: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(function, values))


def _is_quiet(seed: int) -> bool:
    logging.disable()
    with provider.sandbox(seed=seed) as sound:
        return all(runner.made(sound, check).outcome is Outcome.KEPT for check in runner.chosen(GENERATED))


def found_by(defect: str) -> frozenset[str]:
    """Return the checks that find a defect; each has a sandbox of its own, those of task types share one."""
    logging.disable()
    alone = {check.id for check in runner.OF_PROVIDER if _finds(check, defect)}
    with provider.sandbox(defective(defect), seed=1) as broken:
        results = [runner.made(broken, check, name) for check in runner.OF_TASK_TYPES for name in TASK_TYPES]
    return frozenset(alone | {result.check.id for result in results if result.outcome is Outcome.BROKEN})


def _finds(check: Check, defect: str) -> bool:
    run = partial(GENERATED[check.id], examples=EXAMPLES) if check.id in GENERATED else check.run
    with provider.sandbox(defective(defect), seed=1) as broken:
        return runner.made(broken, replace(check, run=run)).outcome is Outcome.BROKEN


def _table(measures: Iterable[Measure]) -> str:
    rows = [(one.name, f"{one.found:,}", f"{one.of:,}", f"{one.wanted:.0%}", one.verdict) for one in measures]
    lines = [("measure", "found", "of", "wanted", "met"), ("---",) * 5, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
