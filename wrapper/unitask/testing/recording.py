"""A recording that answers the clients of a test in memory."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import httpx
import pytest

from .._base_client import Defaults
from .clock import InstantClock
from .provider import KEY, URL, use

REPLAY_MISSING = "the fixture unitask_recording needs the contract harness: pip install 'unitask[testing]' ({})"


class UnitaskRecording:
    """A folder of `unitask record`, whose answers every client inside the `with` block gets.

    No request leaves the process, and waiting takes no time. A request that the recording does not have fails the test
    with the nearest recorded request and the first difference; leaving the block fails it, too, because an app may have
    caught that.

    Attributes:
        clock: The clock of the clients; it starts when the recording did.
        transport: For a client that is made without `with`, with `transport=`, `clock=` and `sleep=`.

    Args:
        folder: The folder of the recording.
        all_used: Whether leaving the block fails the test when recorded submissions were not sent.
    """

    def __init__(self, folder: Path, *, all_used: bool = False) -> None:
        try:
            from unitask_contract.connecting import CannotRun
            from unitask_contract.recording.folder import Recording
            from unitask_contract.recording.replay import Replay, started
        except ImportError as error:
            raise pytest.fail.Exception(REPLAY_MISSING.format(error), pytrace=False) from None
        try:
            self._recording = Recording.open(folder)
        except CannotRun as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        exchanges = list(self._recording.exchanges())
        self.clock: InstantClock = InstantClock(datetime.fromtimestamp(started(exchanges), UTC))
        self.transport: httpx.MockTransport = httpx.MockTransport(self._answer)
        self._replay, self._all_used = Replay(exchanges, lambda: self.clock().unix), all_used
        self._missing: list[str] = []
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        clock = self.clock
        use(self._patch, URL, KEY, Defaults(self.transport, clock, clock.sleep, clock.sleep_async))
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._patch.undo()
        if kind is None:
            unsent = self._replay.unsent if self._all_used else []
            problems = [*self._missing, *(unsent and [f"recorded submissions that were not sent: {', '.join(unsent)}"])]
            if problems:
                raise pytest.fail.Exception("\n".join(problems), pytrace=False)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and (file := self._replay.file(str(request.url))):
            return httpx.Response(200, headers={"content-type": file[0]}, content=file[1])
        path, _, query = request.url.raw_path.decode().partition("?")
        try:
            answer = self._replay.answer(request.method, path, query, dict(request.headers), request.content)
        except LookupError as missing:
            damaged = ", ".join(self._recording.incomplete())
            reason = f"{missing}. Files that are not whole exchanges: {damaged}" if damaged else str(missing)
            self._missing.append(reason)
            raise pytest.fail.Exception(reason) from None  # no Exception: clients and apps catch those
        if answer.lost:
            raise httpx.RemoteProtocolError(answer.lost)
        return httpx.Response(answer.status or 200, headers=answer.headers, content=b"".join(answer.pieces))
