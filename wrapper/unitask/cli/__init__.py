"""The command line: results go to stdout, everything else to stderr. docs/command-line.md is its manual.

Rules of this package: text of a provider is escaped; once a task was accepted, every message about an end names the id,
the cost, and the command that continues with it.
"""

import logging
import sys

from .. import errors
from .._terminal import give_up, put, say, take_every_character

CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell has it
MISSING = "the command line is not installed: pip install 'unitask[cli]'"
_NO_LOG = logging.NullHandler()  # the command line reports these events itself


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    take_every_character()
    logging.getLogger("unitask").addHandler(_NO_LOG)
    try:
        try:
            return _main(sys.argv[1:] if arguments is None else arguments)
        finally:
            put()  # flush what was written by other means
    except BrokenPipeError:  # as of `| head`, when it has enough
        give_up(sys.stdout)
        return CLOSED_PIPE
    except errors.UnitaskError as error:  # of the flush
        say(f"unitask: {error}")
        return 10
    except KeyboardInterrupt:  # while a command is imported
        return 130


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["contract"]:  # it has a parser of its own
        return _contract(arguments[1:])
    try:
        from .app import run  # typer is an extra
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        say(f"unitask: {MISSING}")
        return 1
    return run(arguments)


def _contract(arguments: list[str]) -> int:
    try:
        from unitask_contract import command  # an extra
    except ImportError as error:
        say(f"unitask: the contract checks are not installed: pip install 'unitask[testing]' ({error})")
        return 2
    return command.main(arguments, _stored_key)


def _stored_key(base_url: str) -> str | None:
    from . import _config  # lazy: it imports httpx, which most commands do not need

    key = _config.api_key(_config.base_url(base_url).value)
    return None if key is None else key.value
