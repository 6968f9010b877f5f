"""The settings of a sandbox."""

import asyncio
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from unitask_sandbox.faults import Fault
from unitask_sandbox.http_client import Private

_ADDRESS = re.compile(r"https?://[^/?#\s]+(/[^?#\s]*)?", re.IGNORECASE)
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/?#\s]+", re.IGNORECASE)
MOST_USD = 1e9  # of a balance; the database counts in 1e-7 USD, and has 64 bits


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_address(text: str) -> bool:
    try:
        return bool(_ADDRESS.fullmatch(text) and urlsplit(text).hostname and urlsplit(text).port != 0)
    except ValueError:  # [::1, or a port that is no number
        return False


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a sandbox behaves.

    Attributes:
        keys: The accepted API keys, with their starting balance in USD. An account that exists in the data folder keeps
            its balance.
        data: Folder of the database and of the output files, of one sandbox at a time; what was answered from it
            survives a crash. None: a temporary one, removed at close.
        speed: "instant": a task completes as soon as possible; "real": in its typical time; a number: that many times
            faster than real.
        autorun: Whether tasks move by themselves, or only in `Sandbox.advance()`.
        engine_process: Whether engines run in processes of their own, or in threads of this one.
        workers: How many engines run at once: by default one for each core, at most 4. Without autorun it is one.
        clock: Returns the time: unix seconds.
        sleep: Waits so many seconds; for answers that are late or slow.
        fetch: Returns the bytes behind the address of an input; raises OSError when it cannot. None: over the network,
            by the rules of `unitask_sandbox.http_client`.
        send_webhook: Posts a body with headers to an address and returns the HTTP status of the answer; raises OSError
            when none comes. None: over the network, by the same rules.
        private_addresses: Which addresses that the internet does not have are allowed in inputs and webhooks: "none",
            "loopback" (this machine) or "all". None: "loopback" while the server listens there, else "none".
        allowed_hosts: Names in the Host header that are accepted besides localhost, the host that the server listens
            on, and IP addresses.
        allowed_origins: Origins of web pages that may call the API ("https://app.example", or "*" for all). The
            endpoints below /_sandbox/ stay closed to them.
        public_url: What the addresses of files in answers and webhooks begin with, behind a proxy or in a container.
            None: the address that a request was sent to.
        accept_unknown: Whether a task type that the spec does not have is accepted; the task is SIMULATED and free.
        seed: Make ids of tasks and names of files the same in each run. None: they are random.
        concurrency: How many tasks an account may have pending or processing at once; a create request beyond it is
            refused with HTTP 429. None: no limit.
        rate: How many requests a second an account may send; one beyond it is HTTP 429 with Retry-After. None: no
            limit.
        faults: What goes wrong from the start; `Sandbox.fault` and /_sandbox/faults add more.

    Raises:
        ValueError: A value is impossible; the message says which, and what is accepted.
    """

    keys: Mapping[str, float] = field(default_factory=lambda: {"sandbox": 10.0}, repr=False)
    data: Path | None = None
    speed: Literal["instant", "real"] | float = "instant"
    autorun: bool = True
    engine_process: bool = True
    workers: int = field(default_factory=lambda: min(4, os.cpu_count() or 1))
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    fetch: Callable[[str], bytes] | None = None
    send_webhook: Callable[[str, bytes, Mapping[str, str]], int] | None = None
    private_addresses: Private | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    public_url: str | None = None
    accept_unknown: bool = False
    seed: int | None = None
    concurrency: int | None = None
    rate: float | None = None
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.data is not None:
            object.__setattr__(self, "data", Path(self.data))  # a str is accepted
        object.__setattr__(
            self, "allowed_origins", tuple(map(str.lower, self.allowed_origins))
        )  # as browsers send them
        if "" in self.keys:
            raise ValueError("an API key must not be empty")
        for usd in self.keys.values():
            if usd != 0 and not (_is_positive(usd) and usd <= MOST_USD):
                raise ValueError(f"the balance {usd!r} of a key: give a number of USD from 0 to {MOST_USD:,.0f}")
        speed, private = self.speed, get_args(Private)
        for name, fits, accepted in (
            ("speed", speed in ("instant", "real") or _is_positive(speed), "a number above 0, instant or real"),
            ("workers", _is_count(self.workers), "an integer from 1"),
            ("private_addresses", self.private_addresses in (None, *private), f"one of {', '.join(private)}"),
            ("concurrency", self.concurrency is None or _is_count(self.concurrency), "an integer from 1"),
            (
                "public_url",
                self.public_url is None or _is_address(self.public_url),
                "an http(s) address, no query",
            ),
            ("allowed_origins", all(map(_ORIGIN.fullmatch, self.allowed_origins)), "scheme://host[:port], or *"),
            ("rate", self.rate is None or _is_positive(self.rate), "a number of requests a second above 0"),
        ):
            if not fits:
                raise ValueError(f"{name} {getattr(self, name)!r}: give {accepted}")

    def seconds(self, typical: float) -> float:
        """Return how many seconds something takes here that typically takes so many."""
        if self.speed == "instant":
            return 0.0
        return typical / (1.0 if self.speed == "real" else float(self.speed))
