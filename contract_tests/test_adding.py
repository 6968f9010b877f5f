"""docs/adding-a-task-type.md, followed literally: its files make a task type that works end to end."""

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


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in ("spec", "wrapper", "sandbox", "contract_tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    entry, schemas, scenarios = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "spec/tasks/echo.yaml").write_text(entry + schemas, encoding="utf-8")
    (tmp_path / "contract_tests/unitask_contract/scenarios/echo.yaml").write_text(scenarios, encoding="utf-8")
    (tmp_path / "spec/examples/echo").mkdir()
    (example,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "spec/examples/echo/echo.request.json").write_text(example, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "generator"], cwd=tmp_path / "spec", check=True)
    return tmp_path


def test_guide_makes_a_task_type_that_runs(copied: Path) -> None:
    path = os.pathsep.join(str(copied / name) for name in ("generated", "wrapper", "sandbox", "contract_tests"))
    command = [sys.executable, "-c", PROGRAM, str(copied / "out")]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, cwd=copied, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    assert done.stdout.startswith("True []\n")
    assert (copied / "docs/reference/echo.md").read_text().count("tasks.Echo(") == 1
    bundle = json.loads((copied / "generated/unitask_api/openapi.json").read_text())
    assert "echo.echo.request" in bundle["components"]["examples"]
