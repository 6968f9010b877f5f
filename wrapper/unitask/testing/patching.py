"""What a client takes when nothing is said, replaced for the time of a test: environment, transport, clock, sleep.

The defaults are replaced where Python keeps them, in `__kwdefaults__` of both clients' `__init__`. So every client that
is made meanwhile has them, whoever makes it and however the class was imported; what is said explicitly still wins; and
the clients themselves know nothing of tests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Any

import httpx
import pytest

from ..aio import AsyncClient
from ..client import Client
from ..webhooks import Receiver
from .clock import InstantClock


def set_environment(patch: pytest.MonkeyPatch, url: str, key: str) -> None:
    """Say where the provider is, and which key it takes."""
    patch.setenv("UNITASK_BASE_URL", url)
    patch.setenv("UNITASK_API_KEY", key)


def talk_to(patch: pytest.MonkeyPatch, transport: httpx.MockTransport, clock: InstantClock) -> None:
    """Have clients send their requests to this transport, and live by this clock, also while a receiver waits."""
    _replace(patch, Client, transport=transport, clock=clock, sleep=clock.sleep)
    _replace(patch, AsyncClient, transport=transport, clock=clock, sleep=clock.sleep_async)
    until_news, until_news_async = Receiver.until_news, Receiver.until_news_async

    def news(receiver: Receiver, task_ids: str | Collection[str], seconds: float) -> str | None:
        heard = until_news(receiver, task_ids, 0)
        if heard is None:
            clock.sleep(seconds)
        return heard

    async def news_async(receiver: Receiver, task_ids: str | Collection[str], seconds: float) -> str | None:
        heard = await until_news_async(receiver, task_ids, 0)
        if heard is None:
            await clock.sleep_async(seconds)
        return heard

    patch.setattr(Receiver, "until_news", news)
    patch.setattr(Receiver, "until_news_async", news_async)


def look_often(patch: pytest.MonkeyPatch, longest: float) -> None:
    """Have clients sleep at most so many seconds at a time."""

    def nap(seconds: float) -> None:
        time.sleep(min(seconds, longest))

    async def nap_async(seconds: float) -> None:
        await asyncio.sleep(min(seconds, longest))

    _replace(patch, Client, sleep=nap)
    _replace(patch, AsyncClient, sleep=nap_async)


def _replace(patch: pytest.MonkeyPatch, client: type[Client | AsyncClient], **defaults: Any) -> None:
    init: Any = vars(client)["__init__"]
    for name, value in defaults.items():
        patch.setitem(init.__kwdefaults__, name, value)
