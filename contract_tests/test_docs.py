"""The documents name what exists; docs/ci.md and .pre-commit-hooks.yaml hold as others copy them."""

import json
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from unitask.cli.app import COMMANDS
from unitask_contract.command import parser
from unitask_contract.report_files import FORMS

ROOT = Path(__file__).resolve().parents[1]
CI = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
DOCUMENTS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", CI, re.DOTALL)]
WORKFLOWS = {document["name"]: document for document in DOCUMENTS if "jobs" in document}
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md")
}


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere() -> None:
    lost = []
    for page, text in PAGES.items():
        for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                lost.append((page.name, path, anchor))

    assert lost == []


def test_make_has_the_targets_that_pages_name() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    named = {name for text in PAGES.values() for name in re.findall(r"(?:^ *|`)make ([a-z-]+)", text, re.M)}

    assert named <= set(targets)


def test_commands_that_pages_name_exist() -> None:
    named = {name for text in PAGES.values() for name in re.findall(r"(?:^|`)unitask ([a-z]+)", text, re.M)}

    assert len(named) > 10
    assert named <= COMMANDS.keys()


def test_architecture_names_existing_files() -> None:
    folders: list[str] = []
    missing = []
    for line in PAGES[ROOT / "ARCHITECTURE.md"].split("```")[3].strip().splitlines():
        del folders[(len(line) - len(line.lstrip())) // 2 :]
        names = re.split(r"\s{2,}", line.strip())[0].split()
        missing += [line for name in names if not (ROOT / "".join(folders) / name).exists()]
        folders.append(next((name for name in names if name.endswith("/")), ""))

    assert missing == []


def commands(node: Any) -> list[Any]:
    """Return the parsed options of each `unitask contract` in a document."""
    found = [shlex.split(said) for said in re.findall(r"unitask contract([^|;&\\\"]*)", json.dumps(node))]
    return [parser().parse_args([*said, "a.json"] if said[-1] == "--body" else said) for said in found]


def test_commands_and_options_of_the_ci_page_exist() -> None:
    known = {option for action in parser()._actions for option in action.option_strings}
    named = re.findall(r"`(?:unitask contract )?(--[a-z-]+)", re.sub(r"```.*?```", "", CI, flags=re.DOTALL))
    named += re.findall(r'"(--[a-z-]+)"', "".join(re.findall(r"```python\n(.*?)```", CI, re.DOTALL)))

    assert {"--max-usd", "--body", "--families"} <= set(named) <= known
    assert {path.suffix for options in commands([DOCUMENTS, HOOKS]) for path in options.report} <= FORMS.keys()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_keeps_its_reports(name: str) -> None:
    assert WORKFLOWS[name][True]  # YAML 1.1 reads `on` so
    for job in WORKFLOWS[name]["jobs"].values():
        upload = job["steps"][-1]
        reports = [path.name for options in commands(job) for path in options.report]

        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
        assert upload["if"] == "always()"
        assert reports
        assert all(fnmatch(report, upload["with"]["path"]) for report in reports)


def test_live_run_is_limited_and_its_key_is_not_an_argument() -> None:
    job = WORKFLOWS["contract"]["jobs"]["live"]
    (options,) = commands(job)

    assert (options.base_url, options.max_usd, options.key) == ("https://api.piapi.ai", 0.05, None)
    assert any("UNITASK_API_KEY" in step.get("env", {}) for step in job["steps"])


def test_workflows_of_the_ci_page_pass_the_linters(tmp_path: Path) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", CI, re.DOTALL)):
        if "\njobs:" in block:
            (folder / f"{number}.yml").write_text(block, encoding="utf-8")
    programs = Path(sys.executable).parent

    for command in (["actionlint", *folder.iterdir()], ["zizmor", "--quiet", "--offline", "--no-progress", tmp_path]):
        run = subprocess.run([programs / command[0], *command[1:]], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout


def test_hooks_of_the_docs_exist() -> None:
    named = {hook["id"] for document in DOCUMENTS for repo in document.get("repos", []) for hook in repo["hooks"]}

    assert named == {hook["id"] for hook in HOOKS}
    assert {hook["files"] for hook in HOOKS} == {"^$"}
