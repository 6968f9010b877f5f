"""docs/adding-a-task-type.md and the walks of CONTRIBUTING.md, followed literally in a copy of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WALKS = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "adding-a-task-type.md").read_text(encoding="utf-8")

PROGRAM = """
import sys, time, wave
from unitask import Client, tasks
from unitask_sandbox import Settings, running
with running(Settings()) as url, Client("sandbox", url, sleep=lambda _: time.sleep(0.02)) as client:
    task = client.run(tasks.Echo(text="hello", voice_sample=b"RIFF", speed=1.5))
    (sound,) = client.download(task, sys.argv[1] + "/")
from unitask_contract.scenario_runner import SHELLS, problems, scripted
from unitask_contract.scenarios import scenarios
echoes = [one for one in scenarios() if one.family == "echo"]
print(bool(echoes), [wrong for one in echoes for shell in SHELLS for wrong in problems(one, scripted(one, shell))])
print(task.output.audio_url, task.raw["meta"]["simulated"], wave.open(str(sound)).getframerate())
"""

WALKED = """
import asyncio, time
import httpx
from unitask import AsyncClient, Client, errors, tasks
from unitask_contract import provider, runner
from unitask_sandbox import Settings, running
from unitask_sandbox.faults import named
throttled = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": {"task_id": "t", "status": "Throttled"}}))
print(Client("key", "https://a.test", transport=throttled).get("t").state)
async def notices():
    async with AsyncClient("sandbox", url) as client:
        return (await client.notices()).text
faults = tuple(named("no-hand"))
with running(Settings(faults=faults)) as url, Client("sandbox", url, sleep=lambda _: time.sleep(0.02)) as client:
    print(client.notices().text, asyncio.run(notices()))
    try:
        client.run(tasks.Echo(text="a hand"))
    except errors.NoHandFound as error:
        print(type(error).__name__, isinstance(error, errors.TaskFailed))
(check,) = runner.chosen(["notices"])
with provider.sandbox() as made:
    print(runner.made(made, check).outcome.name)
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with what the guide and the walks add, generated anew."""
    tmp_path = tmp_path_factory.mktemp("copied")
    for name in ("spec", "wrapper", "sandbox", "contract_tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    entry, schemas, scenarios = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "spec/tasks/echo.yaml").write_text(entry + schemas, encoding="utf-8")
    (tmp_path / "contract_tests/unitask_contract/scenarios/echo.yaml").write_text(scenarios, encoding="utf-8")
    (tmp_path / "spec/examples/echo").mkdir()
    (example,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "spec/examples/echo/echo.request.json").write_text(example, encoding="utf-8")
    for change in re.findall(r"```diff\n(.*?)```", WALKS, re.DOTALL):
        apply(change, tmp_path)
    subprocess.run([sys.executable, "-m", "generator"], cwd=tmp_path / "spec", check=True)
    return tmp_path


def apply(change: str, root: Path) -> None:
    """Apply a diff whose hunks are found by their text alone."""
    for name, hunks in re.findall(r"^--- (\S+)\n(.*?)(?=^--- |\Z)", change, re.DOTALL | re.MULTILINE):
        text = (root / name).read_text(encoding="utf-8")
        for hunk in hunks.split("@@\n"):
            old, new = ("".join(re.findall(rf"^[ {sign}](.*\n)", hunk, re.MULTILINE)) for sign in "-+")
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        (root / name).write_text(text, encoding="utf-8")


def run(program: str, copied: Path) -> str:
    path = os.pathsep.join(str(copied / name) for name in ("generated", "wrapper", "sandbox", "contract_tests"))
    command = [sys.executable, "-c", program, str(copied / "out")]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, cwd=copied, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_walks_of_contributing_make_what_they_say(copied: Path) -> None:
    assert run(WALKED, copied).splitlines() == ["staged", "none none", "NoHandFound True", "KEPT"]


def test_guide_makes_a_task_type_that_runs(copied: Path) -> None:
    said = run(PROGRAM, copied)

    assert "SIMULATED" in said
    assert said.startswith("True []\n")
    assert (copied / "docs/reference/echo.md").read_text().count("tasks.Echo(") == 1
    bundle = json.loads((copied / "generated/unitask_api/openapi.json").read_text())
    assert "echo.echo.request" in bundle["components"]["examples"]
