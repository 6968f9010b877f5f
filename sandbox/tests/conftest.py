"""Providers for the tests: by default tasks move in `advance` alone, by the test's clock, with a quick engine."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from unitask_sandbox import Sandbox, Settings, create_app
from unitask_sandbox.engines import ENGINES

from .local import MODEL, TASK_TYPE, Clock, Http, HttpWith, SandboxWith, fake_swap


def no_network(*_sent: object) -> int:
    raise OSError("no webhook leaves these tests")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, (MODEL, TASK_TYPE), fake_swap)


@pytest.fixture
def settings_with(clock: Clock, fake_engine: None) -> Callable[..., Settings]:
    by_hand = {"autorun": False, "engine_process": False, "clock": clock, "send_webhook": no_network}
    return lambda **changes: Settings(**{**by_hand, **changes})


@pytest.fixture
def sandbox_with(settings_with: Any) -> Iterator[SandboxWith]:
    with ExitStack() as stack:

        def make(**changes: Any) -> Sandbox:
            sandbox = Sandbox(settings_with(**changes))
            stack.callback(sandbox.close)
            return sandbox

        yield make


@pytest.fixture
def http_with(settings_with: Any) -> Iterator[HttpWith]:
    with ExitStack() as stack:

        def make(**changes: Any) -> Http:
            app = create_app(settings_with(**changes))
            stack.callback(app.state.sandbox.close)
            return Http(app)

        yield make


@pytest.fixture
def sandbox(sandbox_with: SandboxWith) -> Sandbox:
    return sandbox_with()


@pytest.fixture
def http(http_with: HttpWith) -> Http:
    return http_with()
