"""Recordings of traffic: `record`, `replay`."""

import errno
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option
from unitask_api.json_types import printable

from .. import errors
from .._environment import DEFAULT_BASE_URL, checked_base_url, transport_settings
from .._terminal import put, say
from ..media import from_home
from ._config import key_variable

BROKEN, INCOMPLETE = 1, 2  # exit codes of --check, as of `unitask contract`
TESTING_MISSING = "recordings are not installed: pip install 'unitask[testing]' ({})"


def record(
    to: Annotated[str, Option(metavar="FOLDER", help="Write the exchanges here; a new folder.")],
    base_url: Annotated[str, Option(metavar="URL", help="The provider.")] = DEFAULT_BASE_URL,
    port: Annotated[int, Option(help="Listen here, on 127.0.0.1; 0 takes a free one.")] = 8043,
    check: Annotated[
        bool, Option("--check", help="Exit with 1 if the contract was broken, with 2 if not all was recorded.")
    ] = False,
    keep_texts: Annotated[
        bool, Option("--keep-texts", help="Keep prompts, texts of outputs and URLs; keys and e-mail addresses never.")
    ] = False,
) -> int:
    """Record what any client sends to a provider, until Ctrl-C."""
    try:
        from unitask_contract import connecting  # an extra
        from unitask_contract.recording import proxy
    except ImportError as error:
        raise errors.InvalidInput(TESTING_MISSING.format(error)) from None
    url, key = checked_base_url(base_url), os.environ.get(key_variable() or "", "")

    def ready(address: str) -> None:
        put(f"Requests to {address} go to {url}, and are recorded in {to}. Ctrl-C ends it.")
        put(f"export UNITASK_BASE_URL={address}")

    try:
        summary, is_broken, is_complete = proxy.record(
            Path(from_home(to)),
            url,
            transport_settings().verify,
            port=port,
            key=key,
            keep_texts=keep_texts,
            say=say,
            on_ready=ready,
        )
    except connecting.CannotRun as error:
        raise errors.InvalidInput(str(error)) from None
    put(*summary)
    return (BROKEN if is_broken else 0 if is_complete else INCOMPLETE) if check else 0


def replay(
    folder: Annotated[str, Argument(metavar="FOLDER", help="A folder of `unitask record`.")],
    port: Annotated[int, Option(help="0 takes a free one.")] = 8044,
    other: Annotated[
        Literal["sandbox"] | None,
        Option("--else", help="Let the local provider answer other requests (default: HTTP 404)."),
    ] = None,
) -> None:
    """Answer from a recording until Ctrl-C or SIGTERM."""
    try:
        from unitask_contract.connecting import CannotRun  # an extra
        from unitask_contract.recording import replay_server
        from unitask_contract.recording.folder import Recording
    except ImportError as error:
        raise errors.InvalidInput(TESTING_MISSING.format(error)) from None
    try:
        recording = Recording.open(Path(from_home(folder)))
        with suppress(KeyboardInterrupt), replay_server.running(recording, port, sandbox=bool(other), say=_say) as url:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # the sandbox has processes to end
            for name in recording.incomplete():
                say(f"unitask: {printable(name)} is left out: it is not a whole exchange")
            put(f"The recording of {printable(recording.base_url)} answers at {url}.")
            say("Paste the next line in another terminal. Ctrl-C stops it.")
            put(f"export UNITASK_BASE_URL={url} UNITASK_API_KEY=replay")
            threading.Event().wait()
    except (CannotRun, OSError, ValueError, OverflowError) as error:
        reason: object = error
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            reason = f"port {port} is taken: give another one with --port, or 0 for a free one"
        raise errors.InvalidInput(f"the recording cannot be replayed: {reason}") from error


def _say(text: str) -> None:
    say(f"unitask: {printable(text)}")
