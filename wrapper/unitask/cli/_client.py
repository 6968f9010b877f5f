"""The client of the commands: its key, its base URL, and a record of each submission."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from .. import errors
from . import _config
from ._state import RecordingClient, settle


@contextmanager
def connect(base_url: str | None, **settings: Any) -> Generator[RecordingClient]:
    """Open a client with the key and the base URL that are in force.

    Raises:
        InvalidInput: There is no key, or the base URL cannot be used.
        Unreachable: No answer came; a note says what to do.
    """
    with RecordingClient(*_config.account(base_url), **settings) as client:
        try:
            yield client
        except errors.TaskFailed as error:
            settle(error.task.id)
            raise
        except errors.AuthenticationFailed as error:
            if (key := _config.api_key(client.base_url)) is not None:
                error.add_note(f"unitask: {client.base_url} refused the key, which is from {key.source}")
            raise
        except errors.Unreachable as error:
            error.add_note(f"unitask: {unreachable(client.base_url)}")
            raise


def unreachable(url: str) -> str:
    """Return what to do when an address does not answer."""
    host = urlsplit(url).hostname or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        if url.startswith("https:"):
            return f"{url} does not answer: the local provider has an http:// address, which `unitask sandbox` prints"
        return f"{url} does not answer: start the local provider with `unitask sandbox`, or set another base URL"
    return f"{url} does not answer: check the base URL, the network and the proxy (`unitask doctor`)"
