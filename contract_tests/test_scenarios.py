"""Every scenario ends as it says, with both clients."""

from typing import Any

import pytest
from unitask_contract import bundle

from scripts.pages import DOCS, page, scenario_tables

from .support import scenarios as scenario_files
from .support.scenario_runner import SHELLS, problems, scripted
from .support.scenarios import Scenario, scenarios


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.name)
def test_scenario_ends_as_it_says(scenario: Scenario) -> None:
    for shell in SHELLS:
        assert list(problems(scenario, scripted(scenario, shell))) == [], shell


def test_page_and_sources_of_scenarios_are_current() -> None:
    named = {source for scenario in scenarios() for source in scenario.source}

    assert (DOCS / "scenarios.md").read_text(encoding="utf-8") == page("scenarios.md", scenario_tables())
    assert named <= bundle.document()["x-sources"].keys()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"answers": [{"get_task": {"stats": 500}}]}, "stats"),
        ({"answers": [{"get_task": {"fails": "ReadTimeot"}}]}, "ReadTimeot"),
        ({"expect": {"raises": "NotFound", "returns": {}}}, "returns"),
        ({"expect": {"returns": {}, "says": "no"}}, "says"),
    ],
)
def test_scenario_with_an_unknown_key_is_refused(changed: dict[str, Any], word: str) -> None:
    written = {"name": "a poll", "about": "", "source": "docs", "call": "get", "expect": {"returns": {}}}
    answers = [{"get_task": {"task": {"status": "pending"}}}]
    of_file = {"family": "flux", "scenarios": [{**written, "answers": answers, **changed}]}

    with pytest.raises(ValueError, match=word):
        list(scenario_files._of_file(of_file))
