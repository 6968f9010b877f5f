"""`unitask mcp`."""

from typing import Annotated

from typer import Option

from ..cli import _config
from ..cli._report import NoKey
from ..errors import InvalidInput

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
    url = _config.base_url(base_url).value
    key = _config.api_key(url)
    if key is None:
        raise NoKey(url, base_url)
    make_server(key.value, url, max_usd=max_usd, files=files).run()
