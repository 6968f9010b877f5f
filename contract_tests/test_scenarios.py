"""Every scenario ends as it says, with both clients."""

from __future__ import annotations

import pytest
from unitask_contract.playing import SHELLS, problems, scripted
from unitask_contract.scenarios import Scenario, scenarios

pytestmark = pytest.mark.contract("scenarios")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.name)
def test_scenario_ends_as_it_says(scenario: Scenario, shell: str) -> None:
    """What was sent, what is returned or raised, and what it says."""
    assert list(problems(scenario, scripted(scenario, shell))) == []
