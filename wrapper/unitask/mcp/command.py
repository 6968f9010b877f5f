"""`unitask mcp`."""

import json
import os
import shutil
import signal
import sys
from typing import Annotated, Any

from typer import Option

from .._terminal import is_terminal
from ..cli import _config
from ..cli._report import ExitCode
from ..errors import InvalidInput

FOR_ASSISTANTS = "an assistant starts this command, over pipes, and stdin is a terminal. Its configuration: {}"
MISSING = "the MCP server is not installed: pip install 'unitask[mcp]' ({})"


def serve(
    max_usd: Annotated[
        float | None,
        Option(
            metavar="USD",
            envvar="UNITASK_MCP_MAX_USD",
            help="What the tasks of a session may cost (default: 1, and each task needs a confirmation).",
        ),
    ] = None,
    files: Annotated[
        str | None, Option(metavar="FOLDER", help="The folder whose files may be read (default: the working folder).")
    ] = None,
    base_url: Annotated[str | None, Option(metavar="URL", help="The provider (default: UNITASK_BASE_URL).")] = None,
) -> None:
    """Serve the tools over stdin and stdout until stdin ends."""
    try:
        from .server import make_server  # an extra
    except ImportError as error:
        raise InvalidInput(MISSING.format(error)) from None
    if is_terminal(sys.stdin):
        raise InvalidInput(FOR_ASSISTANTS.format(json.dumps({"mcpServers": {"unitask": _entry()}})))
    server = make_server(*_config.account(base_url), max_usd=max_usd, files=files)
    signal.signal(signal.SIGINT, _interrupted)
    server.run()


def _interrupted(*_: object) -> None:
    """End the process at once: a thread that waits for stdin would keep it. Submissions are on the disk."""
    os._exit(ExitCode.INTERRUPTED)


def _entry() -> dict[str, Any]:
    """Return what a configuration says about this server."""
    command = shutil.which("unitask") or "unitask"
    return {"command": command, "args": ["mcp", "--max-usd", "2"], "env": {"UNITASK_API_KEY": "..."}}
