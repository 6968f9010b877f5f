"""`unitask contract`: what it says of a provider that keeps the contract, of one that breaks it, and of bodies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree as Xml

import httpx
import pytest
from unitask.cli import main
from unitask_contract import provider, runner
from unitask_contract.report_files import FORMS
from unitask_sandbox import Settings, running, server

from .support.defective_provider import defective

KEY = "a-key-that-nobody-may-see-0123456789"
Captured = pytest.CaptureFixture[str]


@contextmanager
def somewhere(*defects: str, **settings: Any) -> Iterator[str]:
    with (
        patch.object(server, "create_app", defective(*defects)),
        running(Settings(keys={KEY: 100.0}, **{"engine_process": False, **settings})) as base_url,
    ):
        yield base_url


def arrivals(base_url: str, operation: str) -> list[dict[str, Any]]:
    found = httpx.get(f"{base_url}/_sandbox/arrivals", params={"operation": operation}).json()["arrivals"]
    return list(found)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITASK_API_KEY", KEY)


def test_provider_that_keeps_the_contract_is_0(capsys: Captured) -> None:
    code = main(["contract", "--families", "flux,udio", "--checks", "accepted,echoed,ended,output"])

    said = capsys.readouterr().out
    assert code == 0
    assert [line.split()[0] for line in said.splitlines() if " of " in line and "2 of 2" in line] == ["udio"]
    assert "13 of 13" in said
    assert said.splitlines()[-1].startswith("contract kept: ")


def test_provider_that_breaks_the_contract_is_1(capsys: Captured, tmp_path: Path) -> None:
    places = [tmp_path / f"out{ending}" for ending in FORMS]
    with somewhere("wrong-model", "output-missing") as base_url:
        arguments = [
            "--base-url",
            base_url,
            "--checks",
            "keys,echo,account,echoed,output",
            "--families",
            "general,flux",
        ]
        code = main(["contract", *arguments, *(f"--report={place}" for place in places)])

    said = capsys.readouterr().out
    page, junit, document, patch = (place.read_text() for place in places)
    assert code == 1
    assert "broken: echo" in said
    assert 'assert (task["model"], task["task_type"]) == ' in said
    assert "contract broken" in page
    assert "<h3>broken: echo </h3>" in page
    assert json.loads(document)["exit_code"] == 1
    suites = {suite.get("name"): suite for suite in Xml.fromstring(junit)}
    (case,) = [case for case in suites["general"] if case.get("name") == "echo"]
    assert case.find("failure") is not None
    assert KEY not in said + page + junit + document + patch


def test_answer_that_contradicts_the_spec_is_a_proposed_change(capsys: Captured, tmp_path: Path) -> None:
    """What a provider answers against the spec is broken, and comes with the patch that would allow it."""
    patch = tmp_path / "out.patch"
    with somewhere("status-number") as base_url:
        code = main(["contract", "--base-url", base_url, "--checks", "echo", "--report", str(patch)])

    assert code == 1
    assert "/data/status" in capsys.readouterr().out
    assert "+++ b/spec/schemas/task.yaml" in patch.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base-url", "http://127.0.0.1:1"], "no answer at http://127.0.0.1:1"),
        (["--base-url", "127.0.0.1"], "is not an address"),
        (["--base-url", "http://127.0.0.1:1", "--max-usd", "-1"], "0 or more"),
        (["--base-url", "http://127.0.0.1:1", "--timeout", "0"], "more than 0"),
        (["--base-url", "http://127.0.0.1:1", "--timeout", "nan"], "more than 0"),
        (["--base-url", "http://127.0.0.1:1", "--key", "a\nb"], "a header cannot hold"),
        (["--base-url", "http://127.0.0.1:1", "--key", "schl\u00fcssel"], "a header cannot hold"),
        (["--families", "flix"], "no family flix; there are general, acestep"),
        (["--checks", "ende"], "no check ende; there are refused"),
        (["--report", "out.pdf"], "one of .html, .xml, .json, .patch"),
        (["--report", "nowhere/out.html"], "there is no folder nowhere"),
        (["--body", __file__, "--operation", "get_acount"], "choose from cancel_task, cancel_tasks"),
    ],
)
def test_what_cannot_be_run_is_2(arguments: list[str], words: str, capsys: Captured) -> None:
    assert main(["contract", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_refused_key_is_2(capsys: Captured) -> None:
    with somewhere() as base_url:
        assert main(["contract", "--base-url", base_url, "--key", "another"]) == 2
    assert "refuses the key" in capsys.readouterr().err


def test_no_key_is_2(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNITASK_API_KEY")

    assert main(["contract", "--base-url", "http://127.0.0.1:1"]) == 2
    assert "UNITASK_API_KEY" in capsys.readouterr().err


def test_no_money_sends_no_create(capsys: Captured) -> None:
    """What would be paid for is left out, with its price, and the provider has accepted nothing."""
    with somewhere() as base_url:
        code = main(["contract", "--base-url", base_url, "--max-usd", "0", "--families", "general,faceswap"])
        accepted = [one for one in arrivals(base_url, "create_task") if one["status"] == 200]

    assert code == 0
    assert accepted == []
    said = capsys.readouterr().out
    assert "costs $0.01, and $0 is left of --max-usd" in said
    assert "left out: refused FaceSwap and 6 more: " in said


def test_run_that_is_interrupted_says_what_it_saw(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    made = runner.made

    def interrupted(subject: provider.Provider, check: runner.Check, name: str = "") -> runner.Result:
        if check.id == "echoed":
            raise KeyboardInterrupt
        return made(subject, check, name)

    monkeypatch.setattr(runner, "made", interrupted)

    assert main(["contract", "--families", "udio", "--checks", "accepted,echoed"]) == 2
    said = capsys.readouterr().out
    assert "2 of 2" in said
    assert "2 kept, interrupted" in said


def test_run_that_leaves_out_everything_is_2(capsys: Captured) -> None:
    with somewhere() as base_url:
        assert main(["contract", "--base-url", base_url, "--max-usd", "0", "--checks", "face_swap,no_face"]) == 2
    assert "contract not run whole" in capsys.readouterr().out


def test_every_check_has_a_promise(capsys: Captured) -> None:
    assert main(["contract", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [check.id for check in runner.chosen()]
    assert all(len(line.split()) > 3 for line in lines)


def test_details_are_without_key_and_personal_data() -> None:
    told = f"{KEY} of jane.doe@example.test at https://me:pass-word@files.test/a.png?Expires=1&Signature=abc"

    def check(_: provider.Provider) -> None:
        raise AssertionError(told)

    with provider.sandbox() as subject:
        subject.key = KEY
        result = runner.made(subject, runner.Check("x", "x", False, check))

    assert not any(secret in result.detail for secret in (KEY, "jane", "Signature", "abc", "me:", "word"))
    assert "https://files.test/a.png" in result.detail


def test_assertions_that_are_off_cannot_be_run() -> None:
    """Without assertions every check would pass."""
    run = subprocess.run([sys.executable, "-O", "-m", "unitask", "contract"], capture_output=True, check=False)

    assert run.returncode == 2
    assert b"without -O" in run.stderr
