"""The documents: what they point at is there; docs/ci.md and .pre-commit-hooks.yaml hold as others copy them.

Of the latter each is read, and each command is one that is taken.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from unitask_contract.command import parser
from unitask_contract.report_files import FORMS

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(encoding="utf-8"), re.DOTALL)
PROSE = re.sub(r"```.*?```", "", (ROOT / "docs" / "ci.md").read_text(encoding="utf-8"), flags=re.DOTALL)
DOCUMENTS = [yaml.safe_load(block) for kind, block in BLOCKS if kind == "yaml"]
WORKFLOWS = {document["name"]: document for document in DOCUMENTS if "jobs" in document}
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8"))
    to = [(page.parent / path if path else page, anchor) for path, anchor in links]

    assert [(str(path), anchor) for path, anchor in to if not path.exists()] == []
    assert [(str(path), anchor) for path, anchor in to if anchor and anchor not in anchors(path)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_make_has_the_targets(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    told = re.findall(r"(?:^ *|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.M)

    assert set(told) <= set(targets)


def test_architecture_names_what_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders: list[str] = []
    missing = []
    for line in text.split("```")[3].strip().splitlines():
        del folders[(len(line) - len(line.lstrip())) // 2 :]
        names = re.split(r"\s{2,}", line.strip())[0].split()
        missing += [line for name in names if not (ROOT / "".join(folders) / name).exists()]
        folders.append(next((name for name in names if name.endswith("/")), ""))

    assert missing == []


def texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from texts(value)


def commands(node: Any) -> list[list[str]]:
    found = [shlex.split(said) for text in texts(node) for said in re.findall(r"unitask contract([^\n|;&]*)", text)]
    return [[*said, "a.json"] if said[-1] == "--body" else said for said in found]


@pytest.mark.parametrize("said", commands([DOCUMENTS, HOOKS]), ids=" ".join)
def test_command_is_taken(said: list[str]) -> None:
    options = parser().parse_args(said)

    assert {path.suffix for path in options.report} <= FORMS.keys()


def test_options_in_prose_exist() -> None:
    known = {option for action in parser()._actions for option in action.option_strings}
    named = re.findall(r"`(?:unitask contract )?(--[a-z-]+)", PROSE)
    named += re.findall(r'"(--[a-z-]+)"', "".join(block for kind, block in BLOCKS if kind == "python"))

    assert {"--max-usd", "--body", "--families"} <= set(named) <= known


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_is_whole(name: str) -> None:
    assert WORKFLOWS[name][True]  # YAML 1.1 reads `on` so
    for job in WORKFLOWS[name]["jobs"].values():
        upload = job["steps"][-1]
        reports = [path.name for said in commands(job) for path in parser().parse_args(said).report]

        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
        assert upload["if"] == "always()"
        assert reports
        assert all(fnmatch(report, upload["with"]["path"]) for report in reports)


def test_live_run_is_limited_and_its_key_is_no_argument() -> None:
    (job,) = WORKFLOWS["contract, live"]["jobs"].values()
    (said,) = commands(job)
    options = parser().parse_args(said)

    assert (options.base_url, options.max_usd, options.key) == ("https://api.piapi.ai", 0.05, None)
    assert any("UNITASK_API_KEY" in step.get("env", {}) for step in job["steps"])


def test_hooks_of_the_docs_exist() -> None:
    named = {hook["id"] for document in DOCUMENTS for repo in document.get("repos", []) for hook in repo["hooks"]}

    assert named == {hook["id"] for hook in HOOKS}
    assert {hook["files"] for hook in HOOKS} == {"^$"}
