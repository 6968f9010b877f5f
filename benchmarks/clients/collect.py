"""`python -m benchmarks.clients.collect [--write]`: drive every client, print the table, write docs/clients.md.

It runs in an environment that has the clients (`make bench-clients` makes it). Every cell is read off what the server
counted and what the driver saw; none is typed in.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .server import CREATES, DONE, Arrivals, serving
from .subjects import SUBJECTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/clients.md"
ROUNDS = 9
LONGEST = 120.0  # seconds that one driver may take
ROWS = {
    "lost-answer": "Paid requests for one create: no answer before the read timeout",
    "closed": "Paid requests for one create: the connection is closed after the request arrived",
    "page": "Paid requests for one create: an HTML page with status 520 comes back",
    "idempotency": "Idempotency keys that came with all these",
    "unknown-word": "Waiting, and the status is an unknown word three times",
    "look-page": "Waiting, and two looks bring an HTML page with status 520",
    "look-closed": "Waiting, and two looks lose the connection",
    "outage": "Waiting, and every look loses the connection",
    "endless": "Waiting, and the task never ends",
    "repr": "The API key is shown by the client or an error, in its repr or its words",
    "attributes": "The API key is shown by their attributes",
    "import": "Import, as a ratio to `import httpx`",
}


@dataclass(frozen=True)
class Seen:
    """What one client did, as its driver tells it, and what of it arrived."""

    name: str
    told: dict[str, Any]
    arrivals: Arrivals

    def count(self, scenario: str, kind: str) -> int:
        """How many requests of a kind arrived."""
        return self.arrivals.count(self.name, scenario, kind)

    def cell(self, row: str) -> str:
        """What the table says."""
        if row in ("repr", "attributes"):
            return self._key(row)
        if row == "idempotency":
            return str(sum(len(self.arrivals.idempotency_keys.get((self.name, each), [])) for each in CREATES))
        seen = self.told["seen"].get(row)
        if seen is None:
            return "has no wait"
        return self._create(row, seen) if row in CREATES else self._wait(row, seen)

    def _create(self, row: str, seen: dict[str, Any]) -> str:
        return f"{self.count(row, 'create')}; {self._end(row, seen)}"

    def _wait(self, row: str, seen: dict[str, Any]) -> str:
        end = self._end(row, seen)
        if row not in ("outage", "endless") or seen["end"] != "raised":
            return end
        place = {"": "nowhere", "message": "in the message"}.get(seen["task_id"], f"in `.{seen['task_id']}` alone")
        looks = self.count(row, "look")
        spent = f"after {looks} look{'s' * (looks > 1)} in {seen['seconds']:.0f} s"
        return f"{end} {spent}; task id {place}"

    def _end(self, row: str, seen: dict[str, Any]) -> str:
        if seen["end"] == "raised":
            return f"raises `{seen['error']}`"
        if seen["end"] == "endless":
            limit = "has no limit, and" if self.told["limit"] is None else ""
            return f"{limit} was still at it after {self.count(row, 'look')} looks".strip()
        is_done = self.arrivals.last_status(self.name, row) == DONE
        return "waits on, returns the result" if is_done else "**returns it as the result**"

    def _key(self, row: str) -> str:
        places = {place for seen in self.told["seen"].values() for place in seen["key"]}
        fit = sorted(place for place in places if ("(" in place) == (row == "repr"))
        return ", ".join(f"`{place}`" for place in fit) or "no"


def main() -> None:
    """Measure, then print or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    with serving() as (url, arrivals):
        clients = [Seen(name, drive(name, url), arrivals) for name in SUBJECTS]
    for client in clients:
        check(client)
    imports = import_ratios()
    made = table(clients, imports)
    if given.write:
        PAGE.write_text(page(made, clients), encoding="utf-8")
    print(made)


def drive(name: str, url: str) -> dict[str, Any]:
    """What the driver of a client tells."""
    command = [sys.executable, "-m", "benchmarks.clients.driver", name, url]
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    environment = {**kept, "NO_PROXY": "*"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def check(client: Seen) -> None:
    """A client that does not work when nothing fails is driven wrongly, and tells nothing."""
    plain = client.told["seen"].get("plain")
    if plain and (plain["end"] != "returned" or client.count("plain", "create") != 1):
        sys.exit(f"{client.name} is driven wrongly: {plain}")


def import_ratios() -> dict[str, str]:
    """Per client, the median and the range of import time over that of httpx, taken in turn."""
    ratios: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS + 1):
            for name, subject in SUBJECTS.items():
                ratio = import_seconds(subject.IMPORT, folder) / import_seconds("import httpx", folder)
                if turn:  # the first one writes bytecode
                    ratios[name].append(ratio)
    return {name: f"{statistics.median(seen):.1f} [{min(seen):.1f}, {max(seen):.1f}]" for name, seen in ratios.items()}


def import_seconds(statement: str, folder: str) -> float:
    """Seconds that an import takes in a fresh interpreter, in an empty folder."""
    program = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout)


def table(clients: list[Seen], imports: dict[str, str]) -> str:
    """A row a question, a column a client."""
    heads = [f"{client.name} {client.told['version']}" for client in clients]
    lines = [["", *heads], ["---"] * (len(heads) + 1)]
    for row, question in ROWS.items():
        cells = imports.values() if row == "import" else (client.cell(row) for client in clients)
        lines.append([question, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(made: str, clients: list[Seen]) -> str:
    """The page for docs/."""
    limits = ", ".join(f"{client.name} {client.told['limit']:g} s" for client in clients if client.told["limit"])
    return f"""# Clients side by side

Clients of such services, as published, and unitask, against one local server that plays failures.
Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d} with Python {platform.python_version()}, in one run of:

    make bench-clients WRITE=1

{made}

## What the rows mean

- Every cell is read off what the server counted and what the client did; none is typed in.
- Each client is used synchronously, as its own documents say, with its own settings for retries and pauses.
  How exactly is in [subjects.py](../benchmarks/clients/subjects.py), what is played in
  [server.py](../benchmarks/clients/server.py).
- **Paid requests**: how many creates arrived at the server for one call, and how the call ended.
  The read timeout is 0.4 seconds; replicate's create takes one only as `wait=1`, which makes it 1.5.
- **Waiting**: create and wait in the package's own way. "has no wait": the package leaves the loop to its user.
  Pauses cost no time here: they move the clocks of the client's process, and the seconds in the table are by those.
- **The task never ends**: where the wait takes a limit of time, it is given one ({limits}).
- **Task id**: whether the error that ends the wait tells which task goes on, and where: in its message, or in an
  attribute alone (`.request` is the HTTP request, whose address has the id in it).
- **Idempotency keys**: headers by which a server could see that a create comes again.
- **The API key**: looked for in `repr` and `str` of the client object and of every error above, and in the `repr` of
  each of their attributes, one level deep.
- **Import**: what the package's documents import first, in a fresh interpreter, over `import httpx` measured in turn:
  the median, and the range. openai imports httpx2 instead.
"""


if __name__ == "__main__":
    main()
