"""Recordings of traffic: `record`."""

import os
from pathlib import Path
from typing import Annotated

from typer import Option

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
