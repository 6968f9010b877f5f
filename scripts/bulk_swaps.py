"""Swap faces with `unitask bulk`, interrupt it by Ctrl-C, by kill -9 and by a full disk, and count files and charges.

    .venv/bin/python -m scripts.bulk_swaps --count 1000

As root the disk is a tmpfs that is filled; otherwise the largest size of a file is limited (RLIMIT_FSIZE).
Exits with 1 if a file is missing, or if the local provider did not charge each swap once.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
from unitask_sandbox import samples

from scripts.kill_workers import KEY, provider

UNITASK = [sys.executable, "-m", "unitask", "bulk"]


class Proof:
    """A file of tasks, and the commands that run it."""

    def __init__(self, folder: Path, url: str, lines: list[dict[str, object]]) -> None:
        self.url, self.lines, self.file, self.journal = url, lines, folder / "in.jsonl", folder / "in.db"
        self.file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        self.environment = os.environ | {"UNITASK_BASE_URL": url, "UNITASK_API_KEY": KEY}

    def run(self, what: str, *words: object, harm: Callable[["subprocess.Popen[str]"], object], after: float) -> int:
        """Run a command; do harm after this part of the tasks; return its exit code."""
        process = subprocess.Popen([*UNITASK, *map(str, words)], env=self.environment, stdout=-1, stderr=-1, text=True)
        while self.done() < after * len(self.lines) and process.poll() is None:
            time.sleep(0.2)
        harm(process)
        self.files, report = process.communicate()
        print(f"{self.done()} done: {what}: exit code {process.returncode}\n  {report.strip()}", flush=True)
        return process.returncode

    def done(self) -> int:
        status = subprocess.run([*UNITASK, "status", self.journal], env=self.environment, capture_output=True, text=True)
        return next((int(part) for part, word in zip(*[iter(status.stdout.split()[1:])] * 2) if word == "done,"), 0)
