"""The table of checks at the end of a run."""

from __future__ import annotations

from collections import Counter

import pytest
from unitask_contract.provider import Money

from .support import bundle

MONEY = pytest.StashKey[Money]()
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
    "planted",
    "coverage",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which provider to test; without it, the sandbox in-process."""
    parser.addoption("--base-url", help="run the provider checks against this URL instead of the sandbox")
    parser.addoption("--key", default="sandbox", help="the API key for --base-url")
    parser.addoption("--max-usd", type=float, default=0.05, help="what --base-url may cost in all (default: 0.05)")


def pytest_configure(config: pytest.Config) -> None:
    """Start counting, money too."""
    config.stash[MONEY] = Money(config.getoption("--max-usd"))
    config.pluginmanager.register(_Table())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the checks in their order, after everything else."""
    items.sort(key=lambda item: CHECKS.index(marker.args[0]) if (marker := item.get_closest_marker("contract")) else -1)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note the check and the family that a test is about: its report has them then, from whichever process it comes."""
    if marker := item.get_closest_marker("contract"):
        item.user_properties.append(("contract", (_family(item), marker.args[0])))


def _family(item: pytest.Item) -> str:
    """The family of the task type, or of the example, that a test is about; "any" if it is about none."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    if scenario := params.get("scenario"):
        return str(scenario.family)
    name = str(params.get("name", ""))
    family = ENTRIES.get(name) or name.partition(".")[0]
    return family if family in FAMILIES else "any"


class _Table:
    """Counts each outcome for its check and family, and prints family x check: how many passed of how many."""

    def __init__(self) -> None:
        self._outcomes: Counter[tuple[str, str, str]] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count."""
        about = dict(report.user_properties).get("contract")
        if about and (report.when == "call" or report.failed):
            self._outcomes[*about, report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print."""
        if not self._outcomes:
            return
        checks = [check for check in CHECKS if any(check == counted for _, counted, _ in self._outcomes)]
        terminalreporter.section("contract")
        terminalreporter.write_line("".join(f"{title:>16}" for title in ("", *checks)))
        for family in (*FAMILIES, "any"):
            cells = [self._cell(family, check) for check in checks]
            terminalreporter.write_line("".join(f"{cell:>16}" for cell in (family, *cells)))

    def _cell(self, family: str, check: str) -> str:
        passed, failed = (self._outcomes[family, check, outcome] for outcome in ("passed", "failed"))
        return f"{passed} of {passed + failed}" if passed + failed else "-"
