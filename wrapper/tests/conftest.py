"""Fixtures of the wrapper tests: no setting of the machine reaches a test; tests with `shell` run with both clients."""

import os
import sys
import time
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Remove a developer's keys and base URLs from the environment, and use other folders than theirs."""
    for name in [name for name in os.environ if name.startswith(("UNITASK_", "PIAPI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{__file__}.nowhere")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp()))


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Empty all caches before a test of `make mutants`: they may hold results from before the mutant."""
    if "MUTANT_UNDER_TEST" in os.environ:
        ours = [vars(module) for name, module in sys.modules.items() if name.startswith("unitask._core.")]
        for cached in {value for names in ours for value in names.values() if callable(value)}:
            if hasattr(cached, "cache_clear") and cached.__name__ != "bundle":  # the spec is not code
                cached.cache_clear()


@pytest.fixture
def local_time_of_tokyo() -> Iterator[None]:
    """Let local time differ from UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(params=["sync", "async"])
def shell(request: pytest.FixtureRequest) -> str:
    """The kind of client: sync or async."""
    return str(request.param)
