"""The proxy of `unitask record` in a thread."""

import asyncio
import queue
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from unitask_contract.recording.folder import Recorded, Recording
from unitask_contract.recording.live import Check
from unitask_contract.recording.proxy import Proxy
from unitask_contract.recording.redaction import Redactor

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # to read those of the system takes a tenth of a second


@dataclass
class Running:
    """A proxy that records."""

    folder: Path
    check: Check
    url: str = ""
    said: list[str] = field(default_factory=list)

    def exchanges(self) -> list[Recorded]:
        return [*Recording.open(self.folder).exchanges()]


@contextmanager
def recording(
    folder: Path, base_url: str, key: str = "", context: ssl.SSLContext = NO_CERTIFICATES
) -> Generator[Running]:
    """Record in a thread until the end of the block."""
    running = Running(folder, Check())
    ready: queue.Queue[tuple[Proxy, asyncio.AbstractEventLoop, str]] = queue.Queue()

    async def serve() -> None:
        proxy = Proxy(base_url, context, Redactor(key=key), running.check, running.said.append)
        await proxy.serve(folder, 0, lambda url: ready.put((proxy, asyncio.get_running_loop(), url)))

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    proxy, loop, running.url = ready.get(timeout=30)
    try:
        yield running
    finally:
        loop.call_soon_threadsafe(lambda: [proxy.stop(), proxy.stop()])  # at once
        thread.join()
