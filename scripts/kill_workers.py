"""Kill workers of a job on PostgreSQL, stop one for longer than its lease, crash the database, and count.

    .venv/bin/python -m scripts.kill_workers --inputs 1000 --kills 20

Exits with 1 if an input was lost or submitted twice, or if an amount differs from the ledger of the local provider.
"""

import argparse
import asyncio
import collections
import faulthandler
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from unitask import AsyncClient, tasks
from unitask._core import recovery
from unitask.bulk import workers
from unitask_sandbox import Settings, running

from wrapper.tests.postgres import MEMORY, Server, running_server

KEY = "key-of-the-job"


def client(base_url: str) -> AsyncClient:
    return AsyncClient(api_key=KEY, base_url=base_url)


class Run:
    """A job, and the processes that work on it."""

    def __init__(self, server: Server, base_url: str, options: argparse.Namespace) -> None:
        self.server, self.base_url, self.options = server, base_url, options
        self.chance = random.Random(options.seed)
        self.inputs = [
            tasks.FluxSchnellTxt2Img(prompt=f"input {n}", width=128, height=128) for n in range(options.inputs)
        ]
        price = self.inputs[0].estimate_usd() or 0.0
        limits = {"max_usd": price * len(self.inputs), "concurrency": options.concurrency, "per_second": 200.0}
        mark = "http://127.0.0.1:9/hook"  # nothing listens there
        self.job = workers.submit(
            server.url, client(base_url), self.inputs, shard_size=options.shard, webhook_url=mark, **limits
        )
        self.workers = [self.start() for _ in range(options.workers)]

    def start(self) -> "subprocess.Popen[bytes]":
        options = ["--worker", self.server.url, self.base_url, str(self.job), "--lease", str(self.options.lease)]
        options += ["--settled", str(self.options.settled)]
        return subprocess.Popen([sys.executable, "-m", "scripts.kill_workers", *options])

    def play(self) -> None:
        """Do harm until the job is done."""
        kills, crashes, stops, harm = 0, 0, 0, time.monotonic() + self.options.pause
        while not (found := workers.status(self.server.url, self.job)).is_done:
            self.workers = [self.start() if worker.poll() is not None else worker for worker in self.workers]
            ended = sum(found.totals.counts[state] for state in ("done", "failed", "unknown")) / len(self.inputs)
            if stops == 0 and ended > 0.15:
                stops += 1
                self.say(found, "stop a worker for longer than its lease")
                sleeper = self.chance.choice(self.workers)
                sleeper.send_signal(signal.SIGSTOP)
                self.wakes = time.monotonic() + 1.5 * self.options.lease
            elif stops == 1 and time.monotonic() > self.wakes:
                stops += 1
                self.say(found, "let it go on")
                sleeper.send_signal(signal.SIGCONT)
            elif crashes < 2 and ended > (0.3, 0.6)[crashes]:
                crashes += 1
                self.say(found, "crash the database")
                self.server.stop()
                time.sleep(1)
                self.server.start()
            elif kills < self.options.kills and time.monotonic() > harm:
                kills += 1
                self.say(found, f"kill -9, number {kills}")
                victim = self.chance.choice([worker for worker in self.workers if stops != 1 or worker is not sleeper])
                victim.kill()
                harm = time.monotonic() + self.chance.uniform(0.2, 2.0) * self.options.pause
            time.sleep(0.2)
        for worker in self.workers:
            worker.send_signal(signal.SIGCONT)
            worker.wait()

    def say(self, found: workers.JobStatus, event: str) -> None:
        counts = {state.value: count for state, count in found.totals.counts.items() if count}
        print(f"{time.monotonic() - BEGUN:6.1f} s  {counts}  {event}", flush=True)

    def check(self, folder: Path) -> bool:
        """Compare the job with the database of the provider."""
        found = workers.status(self.server.url, self.job)
        self.say(found, "done")
        path = folder / "sandbox.sqlite3"
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            sent = collections.Counter(
                json.loads(given)["prompt"] for (given,) in db.execute("SELECT input FROM tasks")
            )
            query = "SELECT starting - balance - frozen, frozen FROM accounts WHERE starting != balance"
            charged, frozen = db.execute(query).fetchone()
        lost = [task.prompt for task in self.inputs if not sent[task.prompt]]
        twice = [prompt for prompt, count in sent.items() if count > 1]
        print(f"{len(self.inputs)} inputs, {sum(sent.values())} tasks: {len(lost)} lost, {len(twice)} double")
        print(f"credits spent {found.totals.spent}, held {found.totals.held}, limit {found.limit}")
        print(f"ledger of the provider: charged {charged}, frozen {frozen}")
        return not lost and not twice and found.totals[:2] == (frozen, charged)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--pause", type=float, default=8.0, help="seconds between kills, about")
    parser.add_argument("--lease", type=float, default=10.0)
    parser.add_argument("--shard", type=int, default=50)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--speed", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    settled = "seconds after which an accepted task is in the history; the local provider needs none"
    parser.add_argument("--settled", type=float, default=60.0, help=settled)
    parser.add_argument("--worker", nargs=3)
    options = parser.parse_args(arguments)
    if options.worker:
        recovery.SETTLED = options.settled
        faulthandler.register(signal.SIGUSR1)
        url, base_url, job = options.worker
        asyncio.run(workers.work(url, client(base_url), job=int(job), lease=options.lease))
        return 0
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        data = Path(folder) / "data"
        settings = Settings(keys={KEY: 1000.0}, speed=options.speed, concurrency=5000, data=data)
        with running_server() as server, running(settings) as base_url:
            run = Run(server, base_url, options)
            run.play()
            return 0 if run.check(data) else 1


BEGUN = time.monotonic()
if __name__ == "__main__":
    sys.exit(main())
