"""Swap faces with `unitask bulk`, interrupt it by Ctrl-C, by kill -9 and by a full disk, and count files and charges.

    .venv/bin/python -m scripts.bulk_swaps --count 1000

As root the disk is a tmpfs that is filled; otherwise the size of a file is limited (RLIMIT_FSIZE).
Exits with 1 if a file is missing, or if the local provider did not charge each swap once.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from PIL import Image
from unitask import errors
from unitask._core.journal import RowState
from unitask.bulk.journal import JournalReader
from unitask_sandbox import Settings, running, samples

ROOM = 64 << 20  # bytes of a tmpfs besides the files of the tasks
Process: TypeAlias = "subprocess.Popen[bytes]"


def prove(folder: Path, lines: Sequence[Mapping[str, object]], *options: object, file_size: int | None = None) -> bool:
    """Run tasks through three interruptions; return whether each has a file and was charged once.

    `file_size` is that of an output in bytes, for a tmpfs; None mounts none.
    """
    disk, source, data = folder / "disk", folder / "in.jsonl", folder / "provider"
    source.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM + len(lines) * (file_size or 0)}", "tmpfs", disk]
    is_mounted = file_size is not None and os.getuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    print("the disk is", "a tmpfs" if is_mounted else "SIMULATED by RLIMIT_FSIZE")
    journal, begun, unitask = disk / "in.db", time.monotonic(), [sys.executable, "-m", "unitask", "bulk"]
    with running(Settings(keys={"key": 1000.0}, data=data, concurrency=5000)) as url:
        environment = os.environ | {"UNITASK_BASE_URL": url, "UNITASK_API_KEY": "key"}

        def done() -> int:
            with contextlib.suppress(errors.JournalError):
                return JournalReader(journal).totals().counts[RowState.DONE]
            return 0

        def run(*words: object, until: float, harm: Callable[[Process], object]) -> int:
            """Run a command, and do harm to it after this part of the tasks; return its exit code."""
            with tempfile.TemporaryFile("w+") as said:
                command = [*unitask, *map(str, words)]
                process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
                while process.poll() is None and done() < until * len(lines):
                    time.sleep(0.1)
                harm(process)
                code = process.wait()
                said.seek(0)
                print(f"--- {time.monotonic() - begun:.0f} s, {done()} done, exit code {code}\n{said.read()}")
                return code

        def fill(process: Process) -> None:
            if not is_mounted:
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
                return
            with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as full:
                while full.write(bytes(4096)):
                    pass

        first = [source, "--to", disk / "out", "--journal", journal, *options]
        codes = [run(*first, until=0.2, harm=lambda process: process.send_signal(signal.SIGINT))]
        codes += [run("resume", journal, until=0.5, harm=lambda process: process.kill())]
        codes += [run("resume", journal, until=0.7, harm=fill)]
        (disk / "ballast").unlink(missing_ok=True)
        codes += [run("resume", journal, until=2.0, harm=bool)]
    with contextlib.closing(sqlite3.connect(data / "sandbox.sqlite3")) as db:
        query = "SELECT count(*), (SELECT starting - balance FROM accounts WHERE starting != balance) FROM tasks"
        sent, charged = db.execute(query).fetchone()
    files, spent = len(list((disk / "out").glob("[!.]*"))), JournalReader(journal).totals().spent
    print(f"{len(lines)} lines, {files} files, {sent} tasks; charged {charged} credits, spent by the journal {spent}")
    if is_mounted:
        subprocess.run(["umount", disk], check=True)
    return codes == [130, -9, 1, 0] and files == sent == len(lines) and charged == spent


def swaps(folder: Path, count: int) -> list[dict[str, object]]:
    """Make tasks whose target pictures differ."""
    with Image.open(samples.ASTRONAUT) as picture:
        for n in range(count):
            picture.convert("RGB").crop((n % 32, n // 32, 512, 512)).save(folder / f"{n}.jpg")
    source = str(samples.GRACE_HOPPER)
    return [{"task": "FaceSwap", "target_image": f"{n}.jpg", "swap_image": source} for n in range(count)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as place:
        lines = swaps(Path(place), count)
        sys.exit(not prove(Path(place), lines, "--concurrency", max(1, count // 10), file_size=600_000))
