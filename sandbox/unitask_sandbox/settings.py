"""Everything about a sandbox that can be chosen."""

import asyncio
import math
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args
from urllib.parse import urlsplit

from unitask_sandbox.faults import Fault
from unitask_sandbox.http_client import Private

STARTING_USD = 10.0
MOST_USD = 1e9  # of a balance; the database counts in 1e-7 USD, and has 64 bits
Plan = Literal["Free", "Creator", "Pro"]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_host(name: str) -> bool:
    """Whether a text can be the name of a host, or an address without a port."""
    try:
        parts = urlsplit(f"//[{name}]" if ":" in name else f"//{name}")
        return bool(name) and parts.hostname == name.lower() and not re.search(r"\s", name)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a sandbox behaves.

    Attributes:
        keys: The API keys that are accepted, with their starting balance in USD. An account that the data folder knows
            keeps the balance that it has.
        any_key: Whether every other key is accepted too, with 10 USD each.
        data: Folder of the database and of the output files, of one sandbox at a time; what was answered from it
            survives a crash. None: a temporary one, removed at close.
        speed: "instant": a task is done as soon as it can be; "real": it takes its typical time; a number: that many
            times faster than real.
        autorun: Whether tasks move by themselves; if not, they move in `Sandbox.advance()` alone.
        engine_process: Whether engines run in processes of their own; if not, in threads of this one.
        workers: How many engines run at once: by default one a core, at most 4. Without autorun it is one.
        clock: Returns the time: unix seconds.
        sleep: Waits so many seconds; for answers that are late or slow.
        fetch: Gets the bytes behind the address of an input; raises OSError when it cannot. None: over the network, by
            the rules of `unitask_sandbox.http_client`.
        send_webhook: Posts a body with headers to an address and returns the HTTP status of the answer; raises OSError
            when none comes. None: over the network, by the same rules.
        private_addresses: Which addresses that the internet does not have inputs and webhooks may name: "none",
            "loopback" (this machine) or "all". None: "loopback" while the server listens there, else "none".
        allowed_hosts: Names that the sandbox is called by (the Host of a request), besides localhost, what the server
            was told to listen on, and addresses that are written out.
        concurrency: How many tasks an account may have pending or processing at once; a create beyond it is refused
            with HTTP 429, or staged if it is of Midjourney. None: as many as it likes.
        rate: How many requests a second an account may send; one beyond it is HTTP 429 with Retry-After. None: as many
            as it likes.
        plan: The plan of the accounts: "Free" is refused uploads with HTTP 403.
        public_url: Base of the addresses of output files; None: the address that the request came to.
        faults: What goes wrong from the beginning on; `Sandbox.fault` and /_sandbox/faults add more.

    Raises:
        ValueError: One of them cannot be; the message says which, and what can.
    """

    keys: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"sandbox": STARTING_USD}), repr=False)
    any_key: bool = False
    data: Path | None = None
    speed: Literal["instant", "real"] | float = "instant"
    autorun: bool = True
    engine_process: bool = True
    workers: int = field(default_factory=lambda: min(4, _cores()))
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    fetch: Callable[[str], bytes] | None = None
    send_webhook: Callable[[str, bytes, Mapping[str, str]], int] | None = None
    private_addresses: Private | None = None
    allowed_hosts: tuple[str, ...] = ()
    concurrency: int | None = None
    rate: float | None = None
    plan: Plan = "Creator"
    public_url: str | None = None
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.data is not None:
            object.__setattr__(self, "data", Path(self.data))  # a text is as good
        if isinstance(self.allowed_hosts, str):
            raise ValueError(
                f"allowed_hosts {self.allowed_hosts!r}: give a tuple of names, as in ({self.allowed_hosts!r},)"
            )
        if "" in self.keys:
            raise ValueError("an API key must not be empty")
        url, rate, private = self.public_url, self.rate, get_args(Private)
        speed = self.speed in ("instant", "real") or (_is_number(self.speed) and float(self.speed) > 0)
        self._demand("speed", speed, "give 'instant', 'real' or a number above 0")
        self._demand("workers", is_whole(self.workers) and self.workers > 0, "give a number from 1 on, a whole one")
        self._demand(
            "private_addresses", self.private_addresses in (None, *private), f"give one of {', '.join(private)}"
        )
        for name in self.allowed_hosts:
            if not is_host(name):
                raise ValueError(f"allowed_hosts {name!r}: give a host's name without scheme, port and path")
        for usd in self.keys.values():
            if not _is_number(usd) or not 0 <= usd <= MOST_USD:
                raise ValueError(f"the balance {usd!r} of a key: give a number of USD from 0 to {MOST_USD:,.0f}")
        fits = url is None or url.lower().startswith(("http://", "https://"))
        self._demand("public_url", fits, "give an address that begins with http:// or https://")
        fits = self.concurrency is None or (is_whole(self.concurrency) and self.concurrency > 0)
        self._demand("concurrency", fits, "give a number from 1 on, a whole one, or None for no limit")
        fits = rate is None or (_is_number(rate) and 0 < rate < math.inf)
        self._demand("rate", fits, "give a number of requests a second above 0, or None for no limit")
        self._demand("plan", self.plan in get_args(Plan), f"there are {', '.join(get_args(Plan))}")

    def _demand(self, name: str, fits: bool, words: str) -> None:
        if not fits:
            raise ValueError(f"{name} {getattr(self, name)!r}: {words}")

    def seconds(self, typical: float) -> float:
        """How long something that typically takes so many seconds takes here."""
        if self.speed == "instant":
            return 0.0
        return typical / (1.0 if self.speed == "real" else float(self.speed))
