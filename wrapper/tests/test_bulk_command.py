"""`unitask bulk`: each line has its result, nothing is sent twice, and an end has the command that goes on."""

import contextlib
import csv
import json
import logging
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
import unitask.bulk
from unitask import tasks
from unitask._core.journal import RowState
from unitask.bulk import Journal
from unitask.bulk.journal import JournalReader
from unitask.cli import main
from unitask.testing import UnitaskProvider

from scripts import bulk_swaps

from .pictures import encoded
from .postgres import MODULES, REASON, running_server

Captured = pytest.CaptureFixture[str]
URL = "https://me.test/{}.jpg"
SWAP = {"target_image": URL.format("a"), "swap_image": URL.format("b")}


def bulk(*words: object) -> int:
    return main(["bulk", *map(str, words)])


def file_of(folder: Path, *lines: object, name: str = "in.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def swaps(count: int) -> list[dict[str, str]]:
    return [{"task": "FaceSwap", **SWAP, "target_image": URL.format(n)} for n in range(count)]


JSONL: list[tuple[str, str | None]] = [
    (json.dumps({**SWAP, "target_image": "a.png"}), None),
    ("[1]", "an object is expected"),
    ("", "empty"),
    ("{", "not JSON"),
    (json.dumps(SWAP | {"target": 1}), "no such field"),
    (json.dumps(SWAP | {"swap_image": 7}), "swap_image"),
    (json.dumps(SWAP | {"swap_image": "missing.png"}), "missing.png"),
    (json.dumps(SWAP | {"task": "FluxDevTxt2Img"}), "--task is FaceSwap"),
    (json.dumps(SWAP | {"task": "FaceSwap"}), None),
]
CSV: list[tuple[str, str | None]] = [
    ("target_image, swap_image,task", "header"),
    ("a.png,https://me.test/b.jpg", None),
    (",https://me.test/b.jpg,", "needs target_image"),
    ("a.png,https://me.test/b.jpg,,more", "without a name"),
    ("", "empty"),
    ("a.png,https://me.test/b.jpg,FaceSwap", None),
]


@pytest.mark.parametrize(("name", "lines"), [("in.jsonl", JSONL), ("in.csv", CSV)])
def test_wrong_line_is_its_own_failure_before_it_is_paid(
    name: str, lines: list[tuple[str, str | None]], unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    path = file_of(tmp_path, *(line for line, _ in lines), "", "", name=name)
    assert bulk(path, "--to", tmp_path / "out", "--task", "FaceSwap", "--json") == 1

    output, report = capsys.readouterr()
    assert "unitask: correct the wrong lines, then `unitask bulk resume" in report
    results = {result["line"]: result for result in map(json.loads, output.splitlines())}
    expected = {line: problem for line, (_, problem) in enumerate(lines, 1) if problem != "header"}
    assert results.keys() == expected.keys()
    for line, problem in expected.items():
        state, error = results[line]["state"], results[line]["error"]
        assert (state, error) == ("done", None) if problem is None else (state == "not sent" and problem in error)
        assert problem is None or f"line {line}: not sent: " in report
        assert len(results[line]["files"]) == (problem is None)
    assert len(unitask_provider.tasks) == 2

    assert bulk("export", tmp_path / "in.db", "--json") == 0
    exported = map(json.loads, capsys.readouterr().out.splitlines())
    assert {line["line"]: line["error"] for line in exported} == {n: line["error"] for n, line in results.items()}


def test_job_goes_on_from_its_journal_alone(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    unitask_provider.fails("no face found", times=1)
    monkeypatch.chdir(file_of(tmp_path, *swaps(6)).parent)
    assert bulk("--to", "out", "in.jsonl", "--max-usd", "0.03", "--concurrency", "2") == 1
    output, report = capsys.readouterr()
    assert [Path(line).parent for line in output.splitlines()] == [tmp_path / "out"] * 3
    assert "unitask: 3 done, 1 failed, 2 not sent, of 6; spent $0.03\nunitask: line 1: failed:" in report
    assert report.endswith("`unitask bulk resume in.db --max-usd USD` goes on; nothing that was sent is sent again\n")
    assert report.count("the next task may cost") == 1

    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("UNITASK_BASE_URL", "https://another.test")
    assert (bulk("status", tmp_path / "in.db"), bulk("resume", tmp_path / "in.db", "--max-usd", "1")) == (0, 1)
    output, report = capsys.readouterr()
    status, *paths = output.splitlines()
    assert status == f"{tmp_path / 'in.jsonl'}: 3 done, 1 failed, 2 not sent, of 6; spent $0.03 of $0.03"
    assert sorted(paths) == sorted(str(path) for path in (tmp_path / "out").iterdir())
    assert "unitask: 5 done, 1 failed, 0 not sent, of 6; spent $0.05\n" in report
    assert "failed tasks are not sent again: give their lines as another file" in report
    assert "goes on" not in report
    assert [task.input["target_image"] for task in unitask_provider.tasks] == [URL.format(n) for n in range(6)]

    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(swap)}\n" for swap in [*swaps(6), {"task": "FaceSwap"}]))
    assert (bulk("export", tmp_path / "in.db"), bulk("export", tmp_path / "in.db", "--json")) == (0, 0)
    lines = capsys.readouterr().out.splitlines()
    rows = list(csv.DictReader(lines[:8]))
    assert [row["state"] for row in rows] == ["failed", *["done"] * 5, "not sent"]
    assert [row["cost_usd"] for row in rows] == ["0.0", *["0.01"] * 5, ""]
    assert "no face" in rows[0]["error"]
    assert "needs target_image" in rows[6]["error"]
    assert [json.loads(line)["files"] for line in lines[8:]] == [
        row["files"].split(";")[: bool(row["files"])] for row in rows
    ]


WRONG: list[tuple[list[str], int, str]] = [
    (["in.txt", "--to", "out"], 2, "neither FILE.jsonl nor FILE.csv"),
    (["none.jsonl", "--to", "out"], 2, "none.jsonl cannot be read: No such file"),
    (["in.jsonl", "--to", "out", "--task", "FaceSwop"], 2, "did you mean face-swap?"),
    (["in.jsonl", "--to", ""], 2, "--to is empty"),
    (["in.jsonl", "--to", "out", "--concurrency", "0"], 2, "--concurrency is 0: give a number of 1 or more"),
    (["in.jsonl", "--to", "out", "--per-second", "0"], 2, "--per-second is 0: give a number above 0"),
    (["in.jsonl", "--to", "out", "--webhook-url", "me.test"], 2, "--webhook-url is 'me.test': give a URL"),
    (["in.jsonl", "--to", "out", "--base-url", "me.test"], 2, "unitask: --base-url is 'me.test'"),
    (["status", "in.jsonl"], 2, "in.jsonl has the tasks: give its journal, in.db"),
    (["other.jsonl", "--to", "out", "--journal", "in.db"], 2, "give another one with --journal FILE.db"),
    (["changed/in.jsonl", "--to", "out", "--journal", "in.db"], 2, "correct the file, then `unitask bulk resume"),
    (["in.jsonl", "--to", "in.txt/out"], 1, "`unitask bulk resume in.db` goes on"),
    (["status", "none.db"], 1, "there is no journal"),
    (["semicolons.csv", "--to", "out"], 2, "separated by ';': save it with commas"),
    (["utf16.jsonl", "--to", "out"], 2, "is in UTF-16: save it as UTF-8"),
    (["resume", "python.db"], 2, "does not say which file"),
    (["status", "x", "--on", "postgresql://127.0.0.1:1/x"], 2, "not the number of a job"),
]


@pytest.mark.parametrize(("words", "code", "problem"), WRONG)
def test_wrong_use_is_explained_and_nothing_is_sent(
    words: list[str], code: int, problem: str, unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "changed").mkdir()
    file_of(tmp_path / "changed", *reversed(swaps(2)))
    file_of(tmp_path, *swaps(2), name="other.jsonl")
    file_of(tmp_path, name="in.txt")
    file_of(tmp_path, "target_image;swap_image", name="semicolons.csv")
    (tmp_path / "utf16.jsonl").write_text("{}", "utf-16")
    Journal("python.db").close()
    file_of(tmp_path, *swaps(2))
    assert bulk("in.jsonl", "--to", "out", "--quiet") == 0
    capsys.readouterr()

    assert bulk(*words) == code
    assert problem in capsys.readouterr().err
    assert len(unitask_provider.tasks) == 2


def test_journal_of_another_process_or_account_is_refused(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(tmp_path, *swaps(2))
    assert bulk(path, "--to", tmp_path / "out") == 0
    with Journal(tmp_path / "in.db"):
        assert bulk("resume", tmp_path / "in.db") == 1
    assert "another process" in capsys.readouterr().err

    monkeypatch.setenv("UNITASK_API_KEY", "another")
    assert bulk("resume", tmp_path / "in.db") == 2
    assert "set UNITASK_API_KEY and --base-url to those of that job" in capsys.readouterr().err
    assert len(unitask_provider.tasks) == 2


def not_found(_: object) -> httpx.Response:
    return httpx.Response(404)


def test_unknown_line_is_settled(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    unitask_provider.loses_the_answer(times=2)
    unitask_provider.completes()
    monkeypatch.setattr(unitask_provider, "_history", not_found)
    monkeypatch.chdir(file_of(tmp_path, *swaps(3)).parent)
    assert bulk("in.jsonl", "--to", "out", "--concurrency", "1") == 1
    report = capsys.readouterr().err
    assert "1 done, 2 unknown, 0 not sent, of 3; spent $0.01, held $0.02" in report
    assert "`unitask bulk settle in.db LINE --task-id ID` or `--not-sent`" in report.replace(f"{tmp_path}/", "")
    assert "error.find" not in report

    lost, _, known = (task.id for task in unitask_provider.tasks)
    assert bulk("settle", "in.db", 1, "--task-id", known) == 2
    assert bulk("settle", "in.db", 3, "--not-sent") == 2
    assert bulk("settle", "in.db", 1, "--task-id", "gone") == 1
    report = capsys.readouterr().err
    assert f"task '{known}' is that of line 3\nunitask: line 3 is done: only a line that is unknown" in report
    assert [row.state for row in JournalReader("in.db").rows()] == ["unknown", "unknown", "done"]
    assert bulk("settle", "in.db", 1, "--task-id", lost) == 0
    assert bulk("settle", "in.db", 2, "--not-sent") == 0
    assert "line 2 counts as not sent, and $0.01 is no longer held: `unitask bulk resume" in capsys.readouterr().out
    assert bulk("resume", "in.db") == 0
    assert [row.task_id for row in JournalReader("in.db").rows()][::2] == [lost, known]
    assert len(unitask_provider.tasks) == 4


def test_limit_of_money_is_kept_replaced_and_removed(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpriced = {"task": "MidjourneyImagine", "prompt": "a cat"}
    monkeypatch.chdir(file_of(tmp_path, unpriced, *swaps(5)).parent)
    assert bulk("in.jsonl", "--to", "out", "--max-usd", "0.02") == 1
    report = capsys.readouterr().err
    assert "line 1: not sent: its price is not known, so it is sent only without --max-usd" in report
    assert "no more tasks are sent: the next task may cost $0.01" in report
    assert bulk("in.jsonl", "--to", "out") == bulk("resume", "in.db") == 1
    assert len(unitask_provider.tasks) == 2
    assert bulk("resume", "in.db", "--max-usd", "1") == 1
    assert "`unitask bulk resume in.db --max-usd none` goes on" in capsys.readouterr().err
    assert bulk("resume", "in.db", "--max-usd", "none") == bulk("in.jsonl", "--to", "out") == 0
    assert len(unitask_provider.tasks) == 6
    job = JournalReader("in.db").job
    assert job is not None
    assert job.limit is None


def test_no_more_is_paid_when_files_cannot_be_saved(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured
) -> None:
    unitask_provider.completes(tasks.FaceSwap, image_url="https://files.test/gone.png")
    path = file_of(tmp_path, *swaps(50))
    assert bulk(path, "--to", tmp_path / "out", "--concurrency", "1") == 1

    assert "the files of 10 tasks, one after another, could not be saved" in capsys.readouterr().err
    assert len(unitask_provider.tasks) < 15


def test_progress_is_one_live_line_on_a_terminal(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    unitask_provider.completes()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert bulk(file_of(tmp_path, *swaps(2)), "--to", tmp_path / "out") == 0
    assert "\r\x1b[K1 done, 1 running, 0 failed, $0.01 spent, 1 left\r\x1b[K" in capsys.readouterr().err


def test_job_goes_on_when_its_terminal_has_gone(
    unitask_provider: UnitaskProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, process_end = pty.openpty()
    os.close(terminal)  # as when its window is closed: each write is an error
    with os.fdopen(process_end, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(stderr, "isatty", lambda: True)
        assert bulk(file_of(tmp_path, *swaps(2)), "--to", tmp_path / "out") == 0
    assert len(unitask_provider.tasks) == 2


def submission(silent: socket.socket) -> socket.socket:
    """Return the connection of the first submission to a server that answers nothing else."""
    connection, _ = silent.accept()
    while not (request := connection.recv(4096)).startswith(b"POST"):  # a GET brings the provider's time
        if request:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        connection.close()
        connection, _ = silent.accept()
    return connection


def interrupt(process: "subprocess.Popen[str]", number: int) -> None:
    """Send a signal, and wait until the process has received it."""
    assert process.stderr is not None
    process.send_signal(number)
    while "again ends at once" not in process.stderr.readline():
        assert process.poll() is None


@contextlib.contextmanager
def started(silent: socket.socket, *words: object) -> "Generator[subprocess.Popen[str]]":
    """Run `unitask bulk` against a server, as a process that ends with the test."""
    command = [sys.executable, "-m", "unitask", "bulk", *map(str, words)]
    environment = {**os.environ, "UNITASK_API_KEY": "key"}
    environment["UNITASK_BASE_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_second_interrupt_ends_at_once_and_the_submission_stays_in_the_journal(
    number: int, code: int, tmp_path: Path
) -> None:
    path = file_of(tmp_path, *swaps(1))
    with socket.create_server(("127.0.0.1", 0)) as silent, started(silent, path, "--to", tmp_path / "out") as process:
        with submission(silent):
            interrupt(process, number)
            process.send_signal(number)
            assert process.wait(60) == code
        assert process.stderr is not None
        assert "resume" in process.stderr.read()
    assert [row.state for row in JournalReader(tmp_path / "in.db").rows()] == [RowState.SENDING]


def test_worker_that_is_terminated_waits_for_the_answer_and_gives_its_shard_back(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in MODULES:
        pytest.importorskip(module, reason=REASON)
    task = {"task_id": "t1", "model": "Qubico/image-toolkit", "task_type": "face-swap", "status": "pending"}
    answer = json.dumps({"code": 200, "data": task, "message": "success"}).encode()
    with running_server() as server, socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("UNITASK_API_KEY", "key")
        monkeypatch.setenv("UNITASK_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert bulk("submit", file_of(tmp_path, *swaps(1)), "--on", server.url) == 0
        job = capsys.readouterr().out.strip()
        worker = started(silent, "worker", "--on", server.url, "--to", tmp_path / "out")
        with worker as process, submission(silent) as connection:
            interrupt(process, signal.SIGTERM)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))
            assert process.wait(60) == 143
        assert bulk("status", job, "--on", server.url) == 0
    assert "1 sent, 0 not sent, of 1; spent $0, held $0.01\n0 of 1 shards done, 0 workers" in capsys.readouterr().out


def test_interrupted_job_has_each_file_and_each_charge_once(tmp_path: Path) -> None:
    lines = [{"task": "FluxSchnellTxt2Img", "prompt": str(n), "width": 128, "height": 128} for n in range(20)]
    (tmp_path / "disk").mkdir()

    def fill(process: "subprocess.Popen[bytes]") -> None:  # as a full disk, SIMULATED
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    assert bulk_swaps.prove(tmp_path, lines, fill, "--per-second", 3)


def test_unknown_line_of_workers_is_settled(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in MODULES:
        pytest.importorskip(module, reason=REASON)
    unitask_provider.loses_the_answer(times=2)
    unitask_provider.completes()
    monkeypatch.setattr(unitask_provider, "_history", not_found)
    with running_server() as server:
        on, work = ("--on", server.url), ("worker", "--on", server.url, "--to", tmp_path / "out")
        path = file_of(tmp_path, *swaps(3), {"task": "FaceSwap", **SWAP, "swap_image": "gone.png"})
        assert bulk("submit", path, *on) == 0
        assert bulk(*work) == bulk("export", 1, *on, "--json") == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()[1:]]
        assert [row["state"] for row in rows] == ["unknown", "unknown", "done", "failed"]
        assert "the task history cannot be read" in rows[0]["error"]
        assert "gone.png" in rows[3]["error"]

        known = rows[2]["task_id"]
        assert bulk("settle", 1, 1, *on, "--task-id", known) == bulk("settle", 1, 3, *on, "--not-sent") == 2
        report = capsys.readouterr().err
        assert "is that of another input" in report
        assert "input 2 of job 1 is done" in report
        assert bulk("settle", 1, 1, *on, "--task-id", unitask_provider.tasks[0].id) == 0
        assert bulk("settle", 1, 2, *on, "--not-sent") == 0
        assert "$0.01 is no longer held: the next worker sends it" in capsys.readouterr().out
        assert bulk("status", 1, *on) == bulk(*work) == bulk("status", 1, *on) == 0
    before, after = (line for line in capsys.readouterr().out.splitlines() if line.startswith("job 1"))
    assert before == "job 1: 1 sent, 1 done, 2 not sent, of 4; spent $0.01, held $0.01"
    assert after == "job 1: 3 done, 1 failed, 0 not sent, of 4; spent $0.03"
    assert len(unitask_provider.tasks) == 4


def test_workers_run_the_file_of_a_job(unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured) -> None:
    for module in MODULES:
        pytest.importorskip(module, reason=REASON)
    (tmp_path / "a.png").write_bytes(encoded())
    path = file_of(tmp_path, *swaps(2), {"task": "FaceSwap", **SWAP, "target_image": "a.png"})
    with running_server() as server:
        assert bulk("submit", file_of(tmp_path, *swaps(2), "{}", name="wrong.jsonl"), "--on", server.url) == 2
        assert "nothing was stored: line 3: it has no task" in capsys.readouterr().err
        assert bulk("submit", path, "--on", server.url, "--max-usd", "1") == 0
        job = capsys.readouterr().out.strip()
        assert bulk("worker", "--on", server.url, "--to", tmp_path / "out", "--job", job) == 0
        assert bulk("status", job, "--on", server.url) == 0
    logging.getLogger("unitask.bulk.postgres").warning("trying again")
    output, report = capsys.readouterr()
    assert f"job {job}: 3 done, 0 not sent, of 3; spent $0.03 of $1" in output
    assert "unitask: trying again" in report
    assert len(list((tmp_path / "out").iterdir())) == len(unitask_provider.tasks) == 3


def test_missing_extra_is_named(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "unitask.bulk.workers", raising=False)
    monkeypatch.delattr(unitask.bulk, "workers", raising=False)
    missing: Any = None
    monkeypatch.setitem(sys.modules, "procrastinate", missing)
    assert bulk("status", "1", "--on", "postgresql://127.0.0.1:1/x") == 2
    assert "pip install 'unitask[bulk-postgres]'" in capsys.readouterr().err
