"""Kill processes that run `map` with a journal, at random moments, and compare the journals with the provider's ledger.

    .venv/bin/python -m scripts.kill_bulk --inputs 800 --kills 100 [--mark]

Two processes share the inputs; each has a journal of its own. Half of the money is allowed at first, and the rest when
a process has stopped at that limit. Another process tries a journal that is in use. `--mark` gives each submission a
webhook, by which the history finds it again, and both use one account; without it the input does, which proves nothing
about the tasks of another journal, so each has its own account. Exits with 1 if an input was lost or submitted twice,
if its end is not known, or if an amount differs from the ledger of the local provider.
"""

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
from unitask import AsyncClient, Options, tasks
from unitask.bulk import Journal
from unitask.bulk.journal import JournalReader
from unitask.errors import BudgetExceeded, JournalError
from unitask_sandbox import Settings, running

KEYS = ("first-key", "other-key")
HOOK = "http://127.0.0.1:9/hook"  # nothing listens there
PRICE = 15_000  # credits of an input
REACHED = 3  # the exit code of a process that stops at its money limit


async def work(options: argparse.Namespace, path: str, base_url: str, key: str, first: str) -> int:
    """Run `map` with a journal, as a user does."""
    hook: Options = {"webhook_url": HOOK} if options.mark else {}
    try:
        with Journal(path) as journal:
            async with AsyncClient(api_key=key, base_url=base_url) as client:
                inputs = [
                    tasks.FluxSchnellTxt2Img(prompt=f"input {n}", width=128, height=128)
                    for n in range(int(first), options.inputs, 2)
                ]
                results = client.map(inputs, journal=journal, max_usd=options.limit / 10**7, per_second=10, **hook)
                errors = [str(result.error) async for result in results if result.error is not None]
    except BudgetExceeded:
        return REACHED
    print(*errors, sep="\n", end="", flush=True)
    return 0


class Worker:
    """The process of one journal, and what it may spend."""

    def __init__(self, folder: Path, base_url: str, number: int, options: argparse.Namespace) -> None:
        self.path, self.base_url, self.number, self.options = folder / f"{number}.db", base_url, number, options
        self.inputs = len(range(number, options.inputs, 2))
        self.limit = self.inputs // 2 * PRICE
        self.key = KEYS[0 if options.mark else number]
        self.start()

    def start(self) -> None:
        given = ["--inputs", str(self.options.inputs), "--limit", str(self.limit), *["--mark"] * self.options.mark]
        command = [
            "-m",
            "scripts.kill_bulk",
            *given,
            "--work",
            str(self.path),
            self.base_url,
            self.key,
            str(self.number),
        ]
        self.process = subprocess.Popen([sys.executable, *command])

    def has_ended(self) -> bool:
        """Whether the process has reached the end; raise the money limit when it has stopped there."""
        if self.process.poll() == REACHED and self.limit < self.inputs * PRICE:
            held, spent, _ = JournalReader(self.path).totals()
            assert held + spent == self.limit, f"held {held}, spent {spent}, limit {self.limit}"
            print(f"        worker {self.number} has spent its {spent} credits: its limit is doubled", flush=True)
            self.limit = self.inputs * PRICE
            self.start()
        return self.process.poll() == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.start()

    def intrude(self) -> bool:
        """Open the journal while its process stands still: that fails, and does not change a byte."""
        self.process.send_signal(signal.SIGSTOP)
        files = [self.path, self.path.with_name(f"{self.path.name}-wal")]
        before = [file.read_bytes() for file in files if file.exists()]
        try:
            Journal(self.path).close()
        except JournalError:
            assert before == [file.read_bytes() for file in files if file.exists()]
            return True
        finally:
            self.process.send_signal(signal.SIGCONT)
        return False  # its process had not opened it yet


def check(workers: list[Worker], base_url: str) -> list[str]:
    """Return what is wrong in the end."""
    rows = [row for worker in workers for row in JournalReader(worker.path).rows()]
    totals = [JournalReader(worker.path).totals() for worker in workers]
    url = f"{base_url}/_sandbox/tasks?limit=1000"
    ledgers = [httpx.get(url, headers={"x-api-key": key}, timeout=60).json() for key in {each.key for each in workers}]
    ids = Counter(row.task_id for row in rows if row.state == "done")
    listed, inputs = {task["task_id"] for ledger in ledgers for task in ledger["tasks"]}, workers[0].options.inputs
    made, charged = (sum(ledger[name] for ledger in ledgers) for name in ("total", "spent_usd"))
    spent, charged = sum(total.spent for total in totals), round(charged * 10**7)
    print(*(f"row {row.key}: {row.state}: {row.outcome}\n" for row in rows if row.state != "done"), sep="", end="")
    print(f"states in the journals: {dict(Counter(row.state.value for row in rows))}")
    print(f"{inputs} inputs, {made} tasks of the provider, {len(ids)} of them in the journals")
    print(f"charged {charged} credits; spent in the journals {spent}, allowed {inputs * PRICE}")
    return [
        name
        for name, wrong in {
            "lost": len(ids) < inputs or len(rows) != inputs,
            "mixed up": any(
                json.loads(row.outcome or "{}").get("input", {}).get("prompt") != f"input {worker.number + 2 * row.key}"
                for worker in workers
                for row in JournalReader(worker.path).rows()
            ),
            "double": made != inputs or set(ids) != listed or max(ids.values()) > 1,
            "money": charged != spent or sum(total.held for total in totals) != 0,
            "unfinished": any(worker.process.returncode for worker in workers),
        }.items()
        if wrong
    ]


def play(options: argparse.Namespace, base_url: str, folder: Path) -> list[str]:
    chance, begun, kills, intrusions = random.Random(options.seed), time.monotonic(), 0, 0
    workers = [Worker(folder, base_url, number, options) for number in range(2)]
    while working := [worker for worker in workers if not worker.has_ended()]:
        time.sleep(chance.uniform(0.1, 1.0) * options.pause)
        alive = [worker for worker in working if worker.process.poll() is None]
        if alive and kills < options.kills:
            victim, kills = chance.choice(alive), kills + 1
            intrusions += kills % 5 == 0 and victim.intrude()
            victim.kill()
            print(f"{time.monotonic() - begun:6.1f} s  kill -9, number {kills}: worker {victim.number}", flush=True)
        elif alive and options.hurry:  # so that the history need not be waited for
            httpx.post(f"{base_url}/_sandbox/clock", json={"advance": 30})
    print(f"{kills} kills; {intrusions} times another process was refused, and changed nothing")
    return check(workers, base_url)


def main(*arguments: str) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=800, help="at most 1000, which the provider lists")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pause", type=float, default=2.0, help="the longest time between kills, in seconds")
    parser.add_argument("--mark", action="store_true")
    parser.add_argument("--hurry", action="store_true", help="move the provider's clock after the last kill")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        return asyncio.run(work(options, *options.work))
    print(f"seed {options.seed}")
    settings = Settings(keys=dict.fromkeys(KEYS, 1000.0), speed=8.0, concurrency=5000)
    with running(settings) as base_url, tempfile.TemporaryDirectory() as folder:
        wrong = play(options, base_url, Path(folder))
    print("WRONG: " + ", ".join(wrong) if wrong else "nothing is lost, nothing is double, and the money is right")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
