"""A scenario played over a real connection to a sandbox that answers as it says; the sandbox without a connection.

The answers are ordered as faults of the sandbox, so what was sent is what the sandbox saw arriving. Failures of a
connection can be had only where there is one, and only those of a server: it hangs up without doing anything.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from unitask_contract.scenario_runner import Played, Time, perform
from unitask_contract.scenarios import Answer, Scenario
from unitask_sandbox import Fault, Settings, running
from unitask_sandbox.faults import as_order
from unitask_sandbox.request_log import key_fingerprint

HANGS_UP = ("ReadError", "RemoteProtocolError")
IN_PROCESS = "http://sandbox.test"


def needs_no_more_than_a_server(scenario: Scenario) -> bool:
    """Whether a server alone can make what happens in a scenario."""
    return all(answer.fails in (None, *HANGS_UP) for answer in scenario.answers)


def no_network(url: str) -> bytes:
    """Fetch nothing."""
    raise OSError(f"{url} is not fetched in tests")


class InProcess(httpx.BaseTransport):
    """Calls an ASGI application."""

    def __init__(self, app: Any) -> None:
        self._app = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._runner = asyncio.Runner()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its whole answer."""

        async def call() -> httpx.Response:
            answer = await self._app.handle_async_request(request)
            return httpx.Response(
                answer.status_code, headers=answer.headers, stream=httpx.ByteStream(await answer.aread())
            )

        return self._runner.run(call())

    def close(self) -> None:
        """Close the event loop."""
        self._runner.close()


@dataclass
class Server:
    """A sandbox on a port, for many scenarios: each has a key of its own."""

    base_url: str
    admin: httpx.Client
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def play(self, scenario: Scenario, shell: str) -> Played:
        """Play a scenario over a connection."""
        key, played = f"key-of-scenario-{next(self._numbers):08}", Played()
        orders: list[Mapping[str, Any]] = [as_order(fault) for fault in _faults(scenario, key)]
        self.admin.post("/_sandbox/faults", json=orders).raise_for_status()
        perform(scenario, shell, played, Time(played.slept), self.base_url, api_key=key)
        arrivals = self.admin.get("/_sandbox/arrivals").json()["arrivals"]
        seen = [arrival for arrival in arrivals if arrival["key"] == key_fingerprint(key)]
        played.sent = [arrival["operation"] for arrival in seen]
        return played


@contextmanager
def server() -> Generator[Server]:
    """A sandbox on a free port while the block lasts."""
    settings = Settings(any_key=True, autorun=False, engine_process=False)
    with running(settings) as base_url, httpx.Client(base_url=base_url) as admin:
        yield Server(base_url, admin)


def _faults(scenario: Scenario, key: str) -> Iterator[Fault]:
    """The answers of a scenario as faults: the last one of each operation happens again and again."""
    last = {answer.operation: number for number, answer in enumerate(scenario.answers)}
    for number, answer in enumerate(scenario.answers):
        yield _fault(answer, None if last[answer.operation] == number else 1, key)


def _fault(answer: Answer, times: int | None, key: str) -> Fault:
    if answer.fails:
        return Fault(answer.operation, "drop", times=times, key=key)
    return Fault(answer.operation, "refuse", answer.status, answer.content, answer.headers, times, key=key)
