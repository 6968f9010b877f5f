"""Every scenario ends as it says, with both clients: over scripted answers, and some families over a sandbox, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from unitask_contract import bundle
from unitask_contract import scenarios as scenario_files
from unitask_contract.exchange import read_json
from unitask_contract.playing import SHELLS, problems, scripted
from unitask_contract.scenarios import Scenario, scenarios
from unitask_contract.serving import Server, in_process, needs_no_more_than_a_server, needs_no_socket, server

from .scenarios_page import PAGE, page

pytestmark = pytest.mark.contract("scenarios")
AS_IT_SAYS: dict[str, list[str]] = {shell: [] for shell in SHELLS}

SERVED = ("account", "core", "faceswap", "legacy", "upload")  # what holds for every family is alike in each


def of_scenarios(found: list[Scenario]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scenario", found, ids=[scenario.name for scenario in found])


@of_scenarios(list(scenarios()))
def test_scenario_ends_as_it_says(scenario: Scenario) -> None:
    """What was sent, what is returned or raised, and what it says."""
    assert {shell: list(problems(scenario, scripted(scenario, shell))) for shell in SHELLS} == AS_IT_SAYS


@of_scenarios([one for one in scenarios() if one.family in SERVED and needs_no_socket(one)])
def test_scenario_ends_so_over_a_sandbox(scenario: Scenario) -> None:
    """The sandbox answers as ordered; what was sent is what it saw arriving."""
    assert {shell: list(problems(scenario, in_process(scenario, shell))) for shell in SHELLS} == AS_IT_SAYS


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """A sandbox on a port."""
    with server() as made:
        yield made


@of_scenarios([one for one in scenarios() if one.family in SERVED and needs_no_more_than_a_server(one)])
def test_scenario_ends_so_over_a_connection(scenario: Scenario, served: Server) -> None:
    """The same over a socket, connections that break included."""
    assert {shell: list(problems(scenario, served.play(scenario, shell))) for shell in SHELLS} == AS_IT_SAYS


def test_page_is_what_the_scenarios_say() -> None:
    """`make generate` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_each_source_of_a_scenario_is_known() -> None:
    """By its short name, as in spec/sources.yaml."""
    known = bundle.document()["x-sources"].keys()

    assert {source for scenario in scenarios() for source in scenario.source} <= known


def test_every_family_has_every_status_word() -> None:
    """The words of the spec, and those that clients met."""
    words = bundle.component("TaskStatus")["anyOf"][0]["enum"]
    families = {entry["family"] for entry in bundle.entries().values() if entry["protocol"] == "unified"}
    told = {
        (one.family, str(bundle.fields(bundle.fields(read_json(answer.content)).get("data")).get("status")))
        for one in scenarios()
        for answer in one.answers
    }

    assert words
    assert told >= {(family, word) for family in families for word in words}


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
    scenarios_of = {"family": "flux", "scenarios": [WRITTEN]}
    assert len(list(scenario_files._of_file(scenarios_of, "flux", None))) == 1

    with pytest.raises(ValueError, match=words):
        list(scenario_files._of_file({**scenarios_of, "scenarios": [{**WRITTEN, **changed}]}, "flux", None))
