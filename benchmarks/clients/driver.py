"""`python -m benchmarks.clients.driver CLIENT URL`: play every scenario with one client; print what it did, as JSON.

Sleeps cost no time: they move the clocks of this process instead. So a client that waits ten minutes is seen to do so
at once, with its own pauses. Only threads that a client starts do sleep: whoever waits for them goes by the real clock.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from importlib.metadata import version
from typing import Any

from .server import CREATES, SCENARIOS, TASK_ID
from .subjects import KEY, SUBJECTS, Subject

SHORT, LONG = 0.4, 30.0  # seconds that one HTTP call may take: the short one is waited for
MOST_SLEEPS = 300


class Endless(BaseException):
    """It went on sleeping for longer than anyone looks on."""


class Clock:
    """The clocks of this process, which sleeps move."""

    def __init__(self) -> None:
        self.skipped, self.sleeps = 0.0, 0
        self._clocks = {name: getattr(time, name) for name in ("time", "monotonic", "perf_counter")}
        for name, real in self._clocks.items():
            setattr(time, name, lambda real=real: real() + self.skipped)
        self._really_sleep, time.sleep = time.sleep, self._sleep

    def _sleep(self, seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            return self._really_sleep(seconds)
        self.skipped += seconds
        self.sleeps += 1
        if self.sleeps > MOST_SLEEPS:
            raise Endless
        return None


def main() -> None:
    """Play, and print."""
    name, url = sys.argv[1:]
    clock = Clock()  # before anything takes hold of time.sleep
    warnings.simplefilter("ignore")
    seen: dict[str, Any] = {}
    for scenario in SCENARIOS:
        subject = SUBJECTS[name](f"{url}/{name}/{scenario}", SHORT if scenario == "lost-answer" else LONG)
        if scenario in CREATES or subject.run is not None:
            seen[scenario] = play(subject, scenario, clock)
    print(json.dumps({"version": version(name), "limit": SUBJECTS[name].LIMIT, "seen": seen}))
    sys.stdout.flush()
    os._exit(0)  # threads that still wait for a task would keep this process


def play(subject: Subject, scenario: str, clock: Clock) -> dict[str, Any]:
    """How one scenario ended, after how many seconds, and what is told of the task and of the key."""
    limit = subject.LIMIT if scenario == "endless" else None
    clock.sleeps, start = 0, time.monotonic()
    found: dict[str, Any] = {"end": "returned"}
    caught: BaseException | None = None
    try:
        subject.create() if scenario in CREATES else subject.run(limit)
    except Endless:
        found["end"] = "endless"
    except Exception as error:
        caught = error
        found |= {"end": "raised", "error": type(error).__name__, "task_id": where(TASK_ID, error)}
    found["seconds"] = time.monotonic() - start
    found["key"] = shown("client", subject.client) + (shown("error", caught) if caught else [])
    return found


def where(word: str, error: BaseException) -> str:
    """Where an error has a word: its message, an attribute, or nowhere."""
    if word in str(error):
        return "message"
    return next((name.lstrip("_") for name, value in vars(error).items() if word in repr(value)), "")


def shown(what: str, thing: Any) -> list[str]:
    """Where the key is to be read: in the repr of a thing, in its words, or in the repr of one of its variables."""
    texts = {f"repr({what})": repr(thing), f"str({what})": str(thing)}
    texts |= {f"{what}.{name}": repr(value) for name, value in getattr(thing, "__dict__", {}).items()}
    return [place for place, text in texts.items() if KEY in text]


if __name__ == "__main__":
    main()
