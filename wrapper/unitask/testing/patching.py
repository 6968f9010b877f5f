"""Replace the defaults of the clients during a test: environment, transport, clock and sleep.

They are replaced in `__kwdefaults__` of both clients' `__init__`. So every client that is made during the test gets
them, however its class was imported, and explicit arguments still win.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Any

import httpx
import pytest

from ..async_client import AsyncClient
from ..client import Client
from ..webhooks import Receiver
from .clock import InstantClock


def set_environment(patch: pytest.MonkeyPatch, url: str, key: str) -> None:
    """Set base URL and key of the provider."""
    patch.setenv("UNITASK_BASE_URL", url)
    patch.setenv("UNITASK_API_KEY", key)


def talk_to(patch: pytest.MonkeyPatch, transport: httpx.MockTransport, clock: InstantClock) -> None:
    """Make clients use this transport and this clock, also while they wait for a notification."""
    _replace(patch, Client, transport=transport, clock=clock, sleep=clock.sleep)
    _replace(patch, AsyncClient, transport=transport, clock=clock, sleep=clock.sleep_async)
    wait_for_notification, wait_for_notification_async = (
        Receiver.wait_for_notification,
        Receiver.wait_for_notification_async,
    )

    def news(receiver: Receiver, task_ids: str | Collection[str], seconds: float) -> str | None:
        heard = wait_for_notification(receiver, task_ids, 0)
        if heard is None:
            clock.sleep(seconds)
        return heard

    async def news_async(receiver: Receiver, task_ids: str | Collection[str], seconds: float) -> str | None:
        heard = await wait_for_notification_async(receiver, task_ids, 0)
        if heard is None:
            await clock.sleep_async(seconds)
        return heard

    patch.setattr(Receiver, "wait_for_notification", news)
    patch.setattr(Receiver, "wait_for_notification_async", news_async)


def look_often(patch: pytest.MonkeyPatch, longest: float) -> None:
    """Limit each pause of the clients to `longest` seconds."""

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
