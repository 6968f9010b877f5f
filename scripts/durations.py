"""`make durations FROM=FOLDER`: the durations in a recording; a patch that changes typical_seconds to their medians.

A duration is the time from created_at to ended_at of a completed task; without these, from the submission to the answer
of the first poll that shows the end, if both were recorded. Failed tasks do not count. The cost of polls is measured as
by `make bench`, with the durations that were seen: polls a task times mean delay, over the best possible.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from generator.lint import LONGEST_TYPICAL
from unitask import Task
from unitask._core.polling import DurationTracker, _LifeTable
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.connecting import CannotRun
from unitask_contract.patches.proposals import is_accepted, proposal
from unitask_contract.recording.folder import Recorded, Recording
from unitask_contract.recording.learned import SIMULATED, confirmed, is_local

from benchmarks.bench_waiting import KIND, TASKS, Shape, cell

LEAST = 5  # samples of a task type
SPREAD = 0.1  # sigma of the logarithm
FIRST, LATER = 2, 300  # tasks of a client whose polls are measured: its first ones, and many


class Sample(NamedTuple):
    seconds: float
    source: str  # "meta" or "polls"


class Known(DurationTracker):
    """A tracker of a client whose catalogue has another typical time."""

    def __init__(self, typical: float) -> None:
        super().__init__()
        self._kinds[KIND] = _LifeTable(typical)


def main(arguments: list[str], tasks: int = TASKS) -> int:
    """Print the table on stderr, the patch on stdout. Exit code 1: nothing is proposed; 2: there is no recording."""
    if len(arguments) != 1:
        say("name the folder of a recording: make durations FROM=FOLDER")
        return 2
    try:
        recording = Recording.open(Path(arguments[0]))
    except CannotRun as error:
        say(str(error))
        return 2
    recorded = list(recording.exchanges())
    about = confirmed(recording, len(recorded), {})
    changes = list[dict[str, Any]]()
    if is_local(recording):
        say(SIMULATED)
    say(
        "Polls, as a multiple of the fewest with the same delay (polls a task x mean delay in seconds): now -> proposed"
    )
    say(f"\n| task type | samples | median | catalogue | polls of the first {FIRST} tasks | of {LATER} tasks |")
    say("|---|---|---|---|---|---|")
    for name, samples in sorted(found(recorded).items()):
        typical = rounded(median(sample.seconds for sample in samples))
        before = float(bundle.entries()[name]["typical_seconds"]["value"])
        is_proposed = len(samples) >= LEAST and typical <= LONGEST_TYPICAL
        seen = [sample.seconds for sample in samples]
        cells = costs(seen, before, typical, tasks) if is_proposed else [refusal(len(samples), typical), ""]
        say(f"| {name} | {words(samples)} | {typical:g} s | {before:g} s | {' | '.join(cells)} |")
        if is_proposed and typical != before:
            value = {"value": typical, "samples": len(samples), "x-source": [about.source]}
            changes.append({"place": f"#/x-tasks/{name}", "merge": {"typical_seconds": value}})
    print(proposal((), about, changes), end="")
    return 0 if changes else 1


def say(line: str) -> None:
    """Print a line that is no part of the patch."""
    print(line, file=sys.stderr, flush=True)


def found(recorded: Iterable[Recorded]) -> dict[str, list[Sample]]:
    """Return the durations of completed tasks, by task type."""
    samples = dict[str, list[Sample]]()
    submissions = dict[str, tuple[dict[str, Any], datetime]]()  # by task id: the body, and when it was sent
    ended = set[str]()
    for one in recorded:
        exchange = one.exchange
        raw = fields(fields(exchange.answer).get("data"))
        task_id = raw.get("task_id")
        if one.lost or not is_accepted(exchange) or not isinstance(task_id, str) or task_id in ended:
            continue
        if exchange.operation == "create_task":
            submissions[task_id] = fields(exchange.asked), datetime.fromisoformat(one.started)
        task = Task(raw, object)
        if task.state == "completed":
            ended.add(task_id)
            body, begun = submissions.pop(task_id, (raw, None))
            entry = bundle.entry_of(body.get("model"), body.get("task_type"), body.get("input"))
            if entry and (sample := sample_of(task, begun, one)):
                samples.setdefault(entry["name"], []).append(sample)
    return samples


def sample_of(task: Task[Any], begun: datetime | None, poll: Recorded) -> Sample | None:
    """Return the duration of a task that this poll shows as completed; None if it is not known."""
    if task.created_at and task.ended_at and task.ended_at > task.created_at:
        return Sample((task.ended_at - task.created_at).total_seconds(), "meta")
    if begun is None:
        return None
    seconds = (datetime.fromisoformat(poll.started) - begun).total_seconds() + poll.seconds
    return Sample(seconds, "polls") if seconds > 0 else None


def words(samples: list[Sample]) -> str:
    """Return how many samples there are, and where they are from."""
    by = Counter(sample.source for sample in samples)
    return f"{len(samples)} ({', '.join(f'{count} by {source}' for source, count in by.items())})"


def refusal(samples: int, typical: float) -> str:
    """Return why no change is proposed."""
    if samples < LEAST:
        return f"not proposed: at least {LEAST} samples are needed"
    return f"not proposed: more than {LONGEST_TYPICAL} s would delay the first poll too much"


def rounded(seconds: float) -> float:
    """Return seconds with two digits."""
    return round(seconds, 1 - math.floor(math.log10(seconds))) if seconds < 10 else int(float(f"{seconds:.2g}"))


def costs(seconds: list[float], before: float, after: float, tasks: int) -> Iterator[str]:
    """Yield the cost of polls with the typical time before and after, of the first tasks of a client and of many.

    The durations that were seen are spread: the best polls would otherwise be at exactly these, without a delay.
    """
    shape = Shape(lambda draw: draw.choice(seconds) * math.exp(draw.gauss(0, SPREAD)))
    for each in (FIRST, LATER):
        yield " -> ".join(cell(shape, 1, partial(Known, typical), each, tasks) for typical in (before, after))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
