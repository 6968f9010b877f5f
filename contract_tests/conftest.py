"""The table of checks at the end of a run, and hypothesis' settings for them."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import settings

from .support import bundle

settings.register_profile("dev", deadline=None, database=None)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

ENTRIES = {entry["name"]: entry["family"] for entry in bundle()["x-tasks"]}
FAMILIES = sorted({*ENTRIES.values(), *(name.partition(".")[0] for name in bundle()["components"]["examples"])})
CHECKS = (
    "examples",
    "scenarios",
    "mutants",
    "status",
    "errors",
    "requests",
    "prices",
    "parity",
    "provider",
    "drift",
    "layers",
    "planted",
)
OUTCOMES = pytest.StashKey[Counter[tuple[str, str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which provider to test; without it, the sandbox in-process."""
    parser.addoption("--base-url", help="run the provider checks against this URL instead of the sandbox")
    parser.addoption("--key", default="sandbox", help="the API key for --base-url")


def pytest_configure(config: pytest.Config) -> None:
    """Start counting."""
    config.stash[OUTCOMES] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the checks in their order, after everything else."""
    items.sort(key=lambda item: CHECKS.index(marker.args[0]) if (marker := item.get_closest_marker("contract")) else -1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Count each outcome for the check and the family that the test is about."""
    report: pytest.TestReport = yield
    marker = item.get_closest_marker("contract")
    if marker and (report.when == "call" or report.failed):
        family = _family(item)
        item.config.stash[OUTCOMES][family, marker.args[0], report.outcome] += 1
    return report


def _family(item: pytest.Item) -> str:
    """The family of the task type, or of the example, that a test is about; "any" if it is about none."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    if scenario := params.get("scenario"):
        return str(scenario.family)
    name = str(params.get("name", ""))
    family = ENTRIES.get(name) or name.partition(".")[0]
    return family if family in FAMILIES else "any"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print family x check: how many passed, and how many failed."""
    outcomes = config.stash[OUTCOMES]
    if not outcomes:
        return
    checks = [check for check in CHECKS if any(check == counted for _, counted, _ in outcomes)]
    families = [*FAMILIES, "any"]
    terminalreporter.section("contract")
    terminalreporter.write_line("".join(f"{title:>16}" for title in ("", *checks)))
    for family in families:
        cells = [_cell(outcomes, family, check) for check in checks]
        terminalreporter.write_line("".join(f"{cell:>16}" for cell in (family, *cells)))


def _cell(outcomes: Counter[tuple[str, str, str]], family: str, check: str) -> str:
    passed, failed = (outcomes[family, check, outcome] for outcome in ("passed", "failed"))
    return f"{passed} of {passed + failed}" if passed + failed else "-"
