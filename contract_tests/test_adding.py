"""docs/adding-a-task-type.md and the walks of CONTRIBUTING.md, followed literally in a copy of the repository."""

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
PACKAGES = ("generated", "wrapper", "sandbox", "contract_tests")
NEW_TASK_TYPE = """
import sys, time
from unitask import Client, tasks
from unitask_sandbox import Settings, running
from support.scenario_runner import SHELLS, problems, scripted
from support.scenarios import scenarios
echoes = [one for one in scenarios() if one.family == "echo"]
print(bool(echoes), [wrong for one in echoes for shell in SHELLS for wrong in problems(one, scripted(one, shell))])
with running(Settings()) as url, Client("sandbox", url, sleep=lambda _: time.sleep(0.02)) as client:
    task = client.run(tasks.Echo(text="hello", voice_sample=b"RIFF", speed=1.5))
    (sound,) = client.download(task, sys.argv[1] + "/")
print(task.output.audio_url, task.raw["meta"]["simulated"], sound.suffix)
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
with provider.sandbox() as made:
    print(runner.made(made, *runner.chosen(["notices"])).outcome.name)
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with what the guide and the walks add, generated anew."""
    folder = tmp_path_factory.mktemp("copied")
    for name in ("spec", "wrapper", "sandbox", "contract_tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    entry, schemas, scenarios = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    (example,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    (folder / "spec/examples/echo").mkdir()
    for path, text in {
        "spec/tasks/echo.yaml": entry + schemas,
        "spec/examples/echo/echo.request.json": example,
        "contract_tests/support/scenarios/echo.yaml": scenarios,
    }.items():
        (folder / path).write_text(text, encoding="utf-8")
    for change in re.findall(r"```diff\n(.*?)```", WALKS, re.DOTALL):
        apply(change, folder)
    subprocess.run([sys.executable, "-m", "generator"], cwd=folder / "spec", check=True)
    return folder


def apply(change: str, root: Path) -> None:
    """Apply a diff whose hunks are found by their text alone."""
    for name, hunks in re.findall(r"^--- (\S+)\n(.*?)(?=^--- |\Z)", change, re.DOTALL | re.MULTILINE):
        text = (root / name).read_text(encoding="utf-8")
        for hunk in hunks.split("@@\n"):
            old, new = ("".join(re.findall(rf"^[ {sign}](.*\n)", hunk, re.MULTILINE)) for sign in "-+")
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        (root / name).write_text(text, encoding="utf-8")


def run(program: str, copied: Path) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(copied / name) for name in PACKAGES)}
    command = [sys.executable, "-c", program, str(copied / "out")]
    done = subprocess.run(command, env=environment, cwd=copied, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_walks_of_contributing_do_what_they_say(copied: Path) -> None:
    assert run(WALKED, copied) == ["staged", "none none", "NoHandFound True", "KEPT"]


def test_guide_makes_a_task_type_that_runs(copied: Path) -> None:
    played, made = run(NEW_TASK_TYPE, copied)
    bundle = json.loads((copied / "generated/unitask_api/openapi.json").read_text())

    assert (played, "SIMULATED" in made) == ("True []", True)
    assert (copied / "docs/reference/tasks/echo.md").read_text().count("tasks.Echo(") == 1
    assert "echo.echo.request" in bundle["components"]["examples"]
