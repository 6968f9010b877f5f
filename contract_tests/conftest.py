"""Options of the provider checks."""

import pytest
from unitask_contract.provider import Money


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--base-url", help="run the provider checks against this URL instead of the sandbox")
    parser.addoption("--key", default="sandbox", help="the API key for --base-url")
    limit = "what --base-url may cost in all (default: 0.05)"  # one limit, which all tests share
    parser.addoption("--max-usd", type=lambda usd: Money(float(usd)), default=Money(0.05), help=limit)
