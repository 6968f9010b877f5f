"""Every scenario ends as it says; one for each code path with both clients."""

from __future__ import annotations

from typing import Any

import pytest
from unitask_contract import bundle
from unitask_contract import scenarios as scenario_files
from unitask_contract.scenario_runner import SHELLS, problems, scripted
from unitask_contract.scenarios import Scenario, scenarios

from scripts.pages import DOCS, page, scenario_tables


def code_path(scenario: Scenario) -> object:
    answers = tuple((answer.operation, answer.status, answer.fails) for answer in scenario.answers)
    return scenario.call, answers, str(scenario.expect.get("raises")), bool(scenario.expect.get("output"))


REPRESENTATIVES = list({code_path(one): one for one in scenarios()}.values())


def of_scenarios(found: list[Scenario]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scenario", found, ids=[scenario.name for scenario in found])


@of_scenarios(list(scenarios()))
def test_scenario_ends_as_it_says(scenario: Scenario) -> None:
    shells = SHELLS if scenario in REPRESENTATIVES else SHELLS[:1]
    assert {shell: list(problems(scenario, scripted(scenario, shell))) for shell in shells} == {
        shell: [] for shell in shells
    }


def test_page_is_what_the_scenarios_say() -> None:
    assert (DOCS / "scenarios.md").read_text(encoding="utf-8") == page("scenarios.md", scenario_tables())


def test_each_source_of_a_scenario_is_known() -> None:
    known = bundle.document()["x-sources"].keys()

    assert {source for scenario in scenarios() for source in scenario.source} <= known


WRITTEN: dict[str, Any] = {
    "name": "a look",
    "about": "",
    "source": "docs",
    "call": "get",
    "answers": [{"get_task": {"task": {"status": "pending"}}}],
    "expect": {"returns": {"status": "pending"}},
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"wit": {}}, "there is no 'wit'"),
        ({"answers": [{"get_task": {"stats": 500}}]}, "an answer has no 'stats'"),
        ({"answers": [{"get_task": {"fails": "ReadTimeot"}}]}, "there is no failure 'ReadTimeot'"),
        ({"expect": {"rases": "NotFound"}}, "expect has no 'rases'"),
        ({"expect": {"raises": "NotFound", "returns": {}}}, "nothing reads 'returns'"),
        ({"expect": {"returns": {}, "says": "no"}}, "nothing reads 'says'"),
    ],
)
def test_scenario_that_says_something_unknown_is_refused(changed: dict[str, Any], words: str) -> None:
    """What nothing reads would be taken for something that is held."""
    scenarios_of: dict[str, Any] = {"family": "flux", "scenarios": [WRITTEN]}
    assert len(list(scenario_files._of_file(scenarios_of))) == 1

    with pytest.raises(ValueError, match=words):
        list(scenario_files._of_file({**scenarios_of, "scenarios": [{**WRITTEN, **changed}]}))
