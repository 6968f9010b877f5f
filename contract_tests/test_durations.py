"""`make durations`: real durations become the typical seconds of the catalogue."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from generator.lint import faults
from unitask_contract.checks._http import TASK

from scripts.durations import LEAST, main

from .support import examples
from .test_learned import STARTED, Call, written
from .test_patches import patched

SWAP = {"model": "Qubico/image-toolkit", "task_type": "face-swap"}
TASKS = 600  # that are simulated


def task(name: str, word: str, **meta: Any) -> dict[str, Any]:
    answer = json.loads(json.dumps(examples()["faceswap.face-swap.completed.200"]["value"]))
    answer["data"] |= {**SWAP, "task_id": name, "status": word}
    answer["data"]["meta"] = meta
    return answer


def reported(name: str, seconds: float, word: str = "completed") -> Call:
    """Return a poll of a task that says how long it took."""
    times = {"created_at": STARTED.isoformat(), "ended_at": (STARTED + timedelta(seconds=seconds)).isoformat()}
    return "GET", f"{TASK}/{name}", None, 200, task(name, word, **times), ""


def test_median_is_proposed_with_its_source_and_the_polls_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [reported(f"a{number}", 10.0 + number) for number in range(LEAST)]
    calls += [reported("b", 900.0, "failed"), calls[0]]  # no duration of a result; polled again
    recording = written(tmp_path / "day", *calls)
    assert main([str(recording.folder)], TASKS) == 0
    patch, said = capsys.readouterr()
    after = patched(patch, tmp_path)

    (entry,) = [one for one in after["x-tasks"] if one["name"] == "FaceSwap"]
    assert entry["typical_seconds"] == {"value": 12, "samples": LEAST, "x-source": ["recording-2026-11-29"]}
    assert faults(after) == []
    (row,) = [line for line in said.splitlines() if line.startswith("| FaceSwap |")]
    assert row.startswith(f"| FaceSwap | {LEAST} ({LEAST} by meta) | 12 s | 8 s | ")
    assert row.count(" -> ") == 2


def test_duration_without_times_ends_at_the_first_poll_that_shows_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {**SWAP, "input": {"target_image": "https://a.test/a.png", "swap_image": "https://a.test/b.png"}}
    calls: list[Call] = []
    for number in range(LEAST):
        name = f"a{number}"
        calls.append(("POST", TASK, body, 200, task(name, "pending"), ""))
        calls += [("GET", f"{TASK}/{name}", None, 200, task(name, word), "") for word in ("processing", "completed")]
    recording = written(tmp_path / "day", *calls)  # a second lies between two exchanges
    assert main([str(recording.folder)], TASKS) == 0

    assert f"| FaceSwap | {LEAST} ({LEAST} by polls) | 2.2 s |" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "seconds", "said"),
    [(LEAST - 1, 12.0, f"not proposed: at least {LEAST} samples are needed"), (LEAST, 700.0, "more than 600 s")],
)
def test_too_few_samples_and_too_long_durations_are_refused(
    count: int, seconds: float, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = written(tmp_path / "day", *(reported(f"a{number}", seconds) for number in range(count)))

    assert main([str(recording.folder)], TASKS) == 1
    patch, shown = capsys.readouterr()
    assert said in shown
    assert patch == ""


def test_folder_without_a_recording_is_2(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 2
    assert main([]) == 2
