"""`python -m benchmarks.clients.driver CLIENT URL`: play every scenario with one client; print the results as JSON.

A sleep costs no time: it moves the clocks of this process. Threads that a client starts do sleep, because the code that
waits for them uses the real clock.
"""

import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

from .server import SCENARIOS, SUBMISSIONS, TASK_ID
from .subjects import KEY, SUBJECTS

SHORT, LONG = 0.4, 30.0  # timeouts of one HTTP call, in seconds; the short one passes
MOST_SLEEPS = 300


class Endless(BaseException):
    """The client slept more than `MOST_SLEEPS` times."""


class Clock:
    """Clocks of this process that sleeps move forward."""

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
    """Play every scenario."""
    name, url = sys.argv[1:]
    subject = SUBJECTS[name]
    clock = Clock()  # before any library imports time.sleep
    warnings.simplefilter("ignore")
    seen: dict[str, Any] = {}
    for scenario in SCENARIOS:
        calls = subject.calls(f"{url}/{name}/{scenario}", SHORT if scenario == "lost-answer" else LONG)
        if scenario in SUBMISSIONS:
            seen[scenario] = play(calls.submit, calls.client, clock)
        elif run := calls.run:
            limit = subject.limit if scenario == "endless" else None
            seen[scenario] = play(partial(run, limit), calls.client, clock)
    print(json.dumps({"version": version(name), "seen": seen}), flush=True)
    os._exit(0)  # threads that still wait for a task would keep the process alive


def play(call: Callable[[], object], client: object, clock: Clock) -> dict[str, Any]:
    """Return how a call ended, after how many seconds, and where the task id and the key are shown."""
    clock.sleeps, start = 0, time.monotonic()
    found: dict[str, Any] = {"end": "returned", "key": []}
    try:
        call()
    except Endless:
        found["end"] = "endless"
    except Exception as error:
        found |= {"end": "raised", "error": type(error).__name__, "task_id": where(TASK_ID, error)}
        found["key"] = shown("error", error)
    return {**found, "seconds": time.monotonic() - start, "key": shown("client", client) + found["key"]}


def where(word: str, error: BaseException) -> str:
    """Return where an error has a word: "message", the name of an attribute, or ""."""
    if word in str(error):
        return "message"
    return next((name.lstrip("_") for name, value in vars(error).items() if word in repr(value)), "")


def shown(what: str, thing: Any) -> list[str]:
    """Return where the key is readable: in the repr of an object, its text, or the repr of an attribute."""
    texts = {f"repr({what})": repr(thing), f"str({what})": str(thing)}
    texts |= {f"{what}.{name}": repr(value) for name, value in getattr(thing, "__dict__", {}).items()}
    return [place for place, text in texts.items() if KEY in text]


if __name__ == "__main__":
    main()
