"""`python -m benchmarks.clients.collect [--write]`: drive every client; print the table, or put it in docs/clients.md.

`make bench-clients` makes the environment that has the clients. Every cell comes from what arrived at the server and
the results of the driver.
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench_wrapper import importing, paired

from .server import DONE, SUBMISSIONS, Arrivals, reply_to_poll, serving
from .subjects import SUBJECTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/clients.md"
LONGEST = 120.0  # seconds that one driver may take
ROWS = {
    "lost-answer": "Paid requests for one submission: no answer before the read timeout",
    "closed": "Paid requests for one submission: the connection is closed after the request arrived",
    "page": "Paid requests for one submission: an HTML page with status 520 comes back",
    "idempotency": "Idempotency keys sent with all these",
    "unknown-word": "Waiting, and the status is an unknown word three times",
    "poll-page": "Waiting, and two polls bring an HTML page with status 520",
    "poll-closed": "Waiting, and two polls lose the connection",
    "outage": "Waiting, and every poll loses the connection",
    "endless": "Waiting, and the task never ends",
    "repr": "The API key is shown by the client or an error, in its repr or its message",
    "attributes": "The API key is shown by their attributes",
    "import": "Import, as a ratio to `import httpx`",
}


@dataclass(frozen=True)
class Result:
    """What one client did, from its driver, and what arrived at the server."""

    name: str
    report: dict[str, Any]
    arrivals: Arrivals

    def count(self, scenario: str, kind: str) -> int:
        """Return how many requests of a kind arrived."""
        return self.arrivals.count((self.name, scenario, kind))

    def cell(self, row: str) -> str:
        """Return a cell of the table."""
        if row == "import":
            ratios = paired(importing(SUBJECTS[self.name].imports), importing("import httpx"))
            return f"{statistics.median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}]"
        if row in ("repr", "attributes"):
            return self._key(row)
        if row == "idempotency":
            return str(sum(self.count(each, "idempotency key") for each in SUBMISSIONS))
        seen = self.report["seen"].get(row)
        if seen is None:
            return "has no wait"
        end = self._end(row, seen)
        if row in SUBMISSIONS:
            return f"{self.count(row, 'submission')}; {end}"
        if row not in ("outage", "endless") or seen["end"] != "raised":
            return end
        place = {"": "nowhere", "message": "in the message"}.get(seen["task_id"], f"in `.{seen['task_id']}` alone")
        polls = self.count(row, "poll")
        spent = f"after {polls} poll{'s' * (polls > 1)} in {seen['seconds']:.0f} s"
        return f"{end} {spent}; task id {place}"

    def _end(self, row: str, seen: dict[str, Any]) -> str:
        if seen["end"] == "raised":
            return f"raises `{seen['error']}`"
        if seen["end"] == "endless":
            limit = "has no limit, and " if SUBJECTS[self.name].limit is None else ""
            return f"{limit}was still polling after {self.count(row, 'poll')} polls"
        is_done = reply_to_poll(row, self.count(row, "poll")) == DONE
        return "waits on, returns the result" if is_done else "**returns it as the result**"

    def _key(self, row: str) -> str:
        places = {place for seen in self.report["seen"].values() for place in seen["key"]}
        fit = sorted(place for place in places if ("(" in place) == (row == "repr"))
        return ", ".join(f"`{place}`" for place in fit) or "no"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put it in {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    with serving() as (url, arrivals):
        clients = [Result(name, drive(name, url), arrivals) for name in SUBJECTS]
    for client in clients:
        plain = client.report["seen"].get("plain")
        if plain and (plain["end"] != "returned" or client.count("plain", "submission") != 1):
            sys.exit(f"{client.name} is driven wrongly: {plain}")
    made = table(clients)
    if given.write:
        measured = f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d} with Python {platform.python_version()}"
        text = re.sub(r"^\|.*\|$", lambda _: made, PAGE.read_text(encoding="utf-8"), count=1, flags=re.M | re.S)
        PAGE.write_text(re.sub(r"Measured on .* with Python [\d.]+\d", measured, text), encoding="utf-8")
    print(made)


def drive(name: str, url: str) -> dict[str, Any]:
    """Run the driver of a client and return its report."""
    command = [sys.executable, "-m", "benchmarks.clients.driver", name, url]
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    environment = {**kept, "NO_PROXY": "*"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def table(clients: list[Result]) -> str:
    """Return the table, with a row for each question and a column for each client."""
    heads = [f"{client.name} {client.report['version']}" for client in clients]
    lines = [["", *heads], ["---"] * (len(heads) + 1)]
    lines += [[question, *(client.cell(row) for client in clients)] for row, question in ROWS.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
