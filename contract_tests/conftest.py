"""Options of the provider checks."""

import pytest
from unitask_contract.provider import Money

MONEY = pytest.StashKey[Money]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--base-url", help="run the provider checks against this URL instead of the sandbox")
    parser.addoption("--key", default="sandbox", help="the API key for --base-url")
    parser.addoption("--max-usd", type=float, default=0.05, help="what --base-url may cost in all (default: 0.05)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MONEY] = Money(config.getoption("--max-usd"))
