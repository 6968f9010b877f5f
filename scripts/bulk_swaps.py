"""Swap faces with `unitask bulk`, interrupt it by Ctrl-C, kill -9 and a full disk, and count files and charges.

    .venv/bin/python -m scripts.bulk_swaps 1000

Needs root, to mount a small disk in memory. Exits with 1 if a file is missing, or if the local provider did not charge
each swap once.
"""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from unitask import errors
from unitask._core.journal import RowState
from unitask.bulk.journal import JournalReader
from unitask_sandbox import Settings, running, samples


def prove(folder: Path, lines: Sequence[Mapping[str, object]], fill: Callable[[Any], object], *options: object) -> bool:
    """Run tasks with files in folder/disk, which `fill` fills; return whether each has a file and was charged once."""
    disk, source, data, begun = folder / "disk", folder / "in.jsonl", folder / "provider", time.monotonic()
    source.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    journal = disk / "in.db"

    def done() -> int:
        with contextlib.suppress(errors.JournalError):
            return JournalReader(journal).totals().counts[RowState.DONE]
        return 0

    def run(*words: object, until: float, harm: Callable[[Any], object]) -> int:
        """Run a command, and do harm to it after this part of the tasks; return its exit code."""
        command = [sys.executable, "-m", "unitask", "bulk", *map(str, words)]
        with (folder / "said").open("w+") as said:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
            while process.poll() is None and done() < until * len(lines):
                time.sleep(0.1)
            harm(process)
            code = process.wait()
            said.seek(0)
            print(f"--- {time.monotonic() - begun:.0f} s, {done()} done, exit code {code}\n{said.read()}", flush=True)
        return code

    with running(Settings(keys={"key": 1000.0}, data=data, concurrency=5000)) as url:
        environment = os.environ | {"UNITASK_BASE_URL": url, "UNITASK_API_KEY": "key"}
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
    return codes == [130, -9, 1, 0] and files == sent == len(lines) and charged == spent


def main(folder: Path, count: int) -> bool:
    """Swap faces; the target pictures differ."""
    disk, lines, source = folder / "disk", list[dict[str, object]](), str(samples.GRACE_HOPPER)
    with Image.open(samples.ASTRONAUT) as picture:
        for n in range(count):
            picture.convert("RGB").crop((n % 32, n // 32, 512, 512)).save(folder / f"{n}.jpg")
            lines.append({"task": "FaceSwap", "target_image": f"{n}.jpg", "swap_image": source})
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={64_000_000 + 600_000 * count}", "tmpfs", disk], check=True)

    def fill(_: object) -> None:
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(bytes(4096)):
                pass

    try:
        return prove(folder, lines, fill, "--concurrency", max(1, count // 10))
    finally:
        subprocess.run(["umount", disk], check=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.exit(not main(Path(place), int(sys.argv[1])))
