"""Fixtures of the wrapper tests: no setting of the machine reaches a test; shell tests run with both clients."""

from __future__ import annotations

import os

import pytest

from .shells import SHELLS


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove what a developer's environment says about keys and providers."""
    for name in [name for name in os.environ if name.startswith(("UNITASK_", "PIAPI_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """The name of a shell: sync or async."""
    return str(request.param)
