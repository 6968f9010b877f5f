"""`unitask find`: what became of the submissions of the command line, from the records on the disk."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from unitask import Client, Output, Task, errors, tasks
from unitask._model.task import Outcome, Recovery
from unitask.cli import account, main
from unitask.cli._config import Setting
from unitask.testing import UnitaskProvider
from unitask.testing.provider import KEY

from .script import task_data

Captured = pytest.CaptureFixture[str]
RUN = ["run", "face-swap", "target_image=https://me.test/secret.jpg", "swap_image=https://me.test/b.jpg"]
MARKED = ["--webhook-url", "https://me.test/hook"]


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the records."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "unitask" / "submissions.jsonl"


def found(capsys: Captured, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    capsys.readouterr()
    code = main(["find", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_lost_answer_is_found_with_the_command_that_continues(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured, tmp_path: Path
) -> None:
    unitask_provider.loses_the_answer(times=1)
    assert main([*RUN, *MARKED]) == 9
    assert "`unitask find`" in capsys.readouterr().err

    code, (fate,) = found(capsys)
    assert (code, fate["task"], fate["outcome"]) == (0, "face-swap", "found")
    assert main([*shlex.split(fate["next"])[1:], "--to", f"{tmp_path}/"]) == 0
    assert len(unitask_provider.tasks) == 1
    assert found(capsys) == (0, [])  # it is known


def test_record_and_its_name_are_on_the_disk_before_a_submission_is_sent(
    unitask_provider: UnitaskProvider, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = list[bool]()  # whether it is a folder

    def synced(number: int) -> None:
        if not unitask_provider.tasks:
            kept.append(stat.S_ISDIR(os.fstat(number).st_mode))

    monkeypatch.setattr("os.fsync", synced)
    assert main(["submit", *RUN[1:]]) == 0
    assert kept == [False, True]
    assert record.exists()


def test_task_whose_command_did_not_end_is_found_without_a_request(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    unitask_provider.completes(statuses=["pending", KeyboardInterrupt(), "completed"])  # type: ignore[list-item]  # raised
    assert main(RUN) == 130
    before = len(unitask_provider.requests)
    code, (fate,) = found(capsys)
    assert (code, fate["outcome"], fate["task_id"]) == (0, "found", unitask_provider.tasks[0].id)
    assert len(unitask_provider.requests) == before
    assert main(shlex.split(fate["next"])[1:]) == 0
    assert found(capsys) == (0, [])


@pytest.mark.parametrize("command", [RUN, ["submit", *RUN[1:]], [*RUN, "--no-wait"]], ids=str)
def test_task_of_a_command_that_ended_is_not_listed(
    command: list[str], unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    assert main(command) == 0
    unitask_provider.fails("no face found")
    assert main(RUN) == 3
    assert found(capsys) == (0, [])


def test_submission_that_did_not_arrive_is_absent_once(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    unitask_provider.loses_the_answer(accepted=False, times=1)
    assert main(RUN) == 9
    code, (fate,) = found(capsys)
    assert (code, fate["outcome"], fate["next"]) == (0, "absent", None)
    assert found(capsys) == (0, [])


def test_task_with_the_same_input_of_unknown_origin_is_a_candidate(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    unitask_provider.loses_the_answer(times=1)
    assert main(RUN) == 9
    code, (fate,) = found(capsys)
    (task,) = unitask_provider.tasks
    assert (code, fate["outcome"], fate["candidates"]) == (9, "unclear", [task.id])
    assert fate["next"] == f"unitask wait {task.id}"
    assert len(found(capsys)[1]) == 1  # it stays open


def test_task_of_another_submission_of_the_command_line_is_not_a_candidate(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    unitask_provider.loses_the_answer(accepted=False, times=1)
    assert main(RUN) == 9
    assert main(RUN) == 0
    code, (fate,) = found(capsys)
    assert (code, fate["outcome"]) == (0, "absent")


def test_submission_is_forgotten_when_the_user_knows_what_became_of_it(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    unitask_provider.loses_the_answer(times=1)
    assert main(RUN) == 9
    _, (fate,) = found(capsys)
    assert main(["find", "--forget", "another"]) == 2
    assert main(["find", "--forget", fate["record"]]) == 0
    assert found(capsys) == (0, [])


def test_history_that_cannot_be_read_leaves_it_unclear(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    unitask_provider.loses_the_answer(times=1)
    main(RUN)
    unitask_provider.down = True
    code, (fate,) = found(capsys)
    assert (code, fate["outcome"], fate["next"]) == (9, "unclear", "unitask find")


DAMAGED = [
    {"key": 5},
    {"at": "soon"},
    {"at": 1e300},
    {"outcome": "accepted", "task_id": 5, "handle": 5},
    {"intent": "[]"},
    {"base_url": "https://another.test"},
]


@pytest.mark.parametrize("damage", [*DAMAGED, "[" * 100_000], ids=lambda damage: str(damage)[:40])
def test_submission_that_cannot_be_searched_does_not_hide_the_others(
    damage: Any, unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    unitask_provider.loses_the_answer(times=1)
    unitask_provider.completes(statuses=["pending", KeyboardInterrupt()])  # type: ignore[list-item]  # raised
    assert [main(RUN), main(RUN)] == [9, 130]
    row = json.loads(record.read_text().split("\n\n")[0])
    damaged = damage if isinstance(damage, str) else json.dumps({**row, "key": "a", **damage})
    record.write_text(f"{damaged}\n{record.read_text()}")
    fates = found(capsys)[1]
    assert [fate["outcome"] for fate in fates][-2:] == ["unclear", "found"]


def test_key_of_the_environment_is_sent_to_another_base_url_only_on_request(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    unitask_provider.loses_the_answer(times=1)
    assert main([*RUN, *MARKED, "--base-url", "https://another.test"]) == 9
    before = len(unitask_provider.requests)
    code, (fate,) = found(capsys)
    assert (code, fate["outcome"], len(unitask_provider.requests)) == (9, "unclear", before)
    assert fate["next"] == "unitask find --base-url https://another.test"
    code, (fate,) = found(capsys, *shlex.split(fate["next"])[2:])
    assert (code, fate["outcome"]) == (0, "found")


def test_provider_without_a_key_leaves_its_submission_unclear_and_the_others_searched(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    unitask_provider.loses_the_answer(accepted=False)
    main([*RUN, "--base-url", "https://gone.test"])
    main(RUN)
    monkeypatch.delenv("UNITASK_API_KEY")
    monkeypatch.setattr("unitask.cli._config.api_key", lambda url: None if "gone" in url else Setting(KEY, ""))
    code, fates = found(capsys)
    assert (code, [fate["outcome"] for fate in fates]) == (9, ["unclear", "absent"])
    assert "there is no API key for https://gone.test" in fates[0]["reason"]


def test_token_of_another_program_is_searched(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured
) -> None:
    unitask_provider.loses_the_answer(times=1)
    swap = tasks.FaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.jpg")
    with Client() as client, pytest.raises(errors.SubmissionUncertain) as caught:
        client.submit(swap, webhook_url="https://me.test/hook")
    code, (fate,) = found(capsys, caught.value.token)
    assert (code, fate["outcome"]) == (0, "found")
    assert main(["find", "nonsense"]) == 2


def test_killed_command_is_found_from_the_disk(
    unitask_sandbox: str, record: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, httpx, unitask._sync_runner as runner\n"
        "send = runner.SyncRunner._send\n"
        "def killed(self, step):\n"
        "    reply = send(self, step)\n"
        "    if step.submission: os.kill(os.getpid(), 9)\n"
        "    return reply\n"
        "runner.SyncRunner._send = killed\n"
        f"from unitask.cli import main; main({[*RUN, *MARKED]!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, env=dict(os.environ))
    assert done.returncode == -9
    assert (record.stat().st_mode & 0o777, "secret" in record.read_text()) == (0o600, False)
    code_, (fate,) = found(capsys, "--timeout", "30")
    assert (code_, fate["outcome"]) == (0, "found")


def test_candidates_are_in_the_order_of_their_distance_in_time() -> None:
    times = {"far": "2026-11-29T12:00:00Z", "unknown": "", "near": "2026-11-29T12:04:00Z"}
    made = (Task(task_data(task_id=name, meta={"created_at": time}), Output) for name, time in times.items())
    sent = datetime(2026, 11, 29, 12, 3, 59, tzinfo=UTC).timestamp()
    fate = account._fate(Recovery(Outcome.UNCLEAR, "several", candidates=tuple(made)), None, at=sent)
    assert fate["candidates"] == ["near", "far", "unknown"]
    sentence = account._sentence(fate)
    assert "`unitask get ID` shows what may be it: near, far, unknown. `unitask find` searches again" in sentence


def test_fate_is_a_sentence_on_a_terminal(
    unitask_provider: UnitaskProvider, record: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitask.cli.account.is_terminal", lambda _: True)
    unitask_provider.loses_the_answer(times=1)
    main([*RUN, *MARKED])
    capsys.readouterr()
    assert main(["find"]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"face-swap of \S+: found: task .* `unitask wait \S+` is the next step\n", out)
    assert main(["wait", unitask_provider.tasks[0].id]) == 0
    assert main(["find"]) == 0
    assert "each submission of the command line has its result" in capsys.readouterr().out
