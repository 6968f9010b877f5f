"""Our templates, and changes to the client template of openapi-python-client.

A template in jinja/ replaces the packaged one. A patch replaces a piece of the packaged client. The piece must be there
exactly once; otherwise the package has changed, and the patch must be reviewed.
"""

import shutil
from importlib.resources import files
from pathlib import Path

from .bundle import SpecError

OWN = Path(__file__).with_name("jinja")
CLIENT = "client.py.jinja"
# A piece of the packaged client, and what takes its place.
PATCHES = (
    ('alias="headers")', 'alias="headers", repr=False)'),  # they hold the key
    ('alias="cookies")', 'alias="cookies", repr=False)'),  # they may hold a session
    ('alias="httpx_args")', 'alias="httpx_args", repr=False)'),  # they may hold a key, as auth or in a proxy
    ('"str", default="", docstring="The token', '"str", default="field(repr=False)", docstring="The token'),  # the key
    (  # httpx reads None as no limit at all
        "_timeout: httpx.Timeout | None = field(default=None,",
        "_timeout: httpx.Timeout | None = field(default=httpx.Timeout(60.0),",
    ),
    ('    {{ declare_attr("raise_on_unexpected_status") | indent(4) }}\n', ""),  # each unexpected status is an error
)


def write(folder: Path) -> None:
    """Write our templates and the patched client into a folder.

    Raises:
        SpecError: A piece is not there exactly once.
    """
    shutil.copytree(OWN, folder, dirs_exist_ok=True)
    text = files("openapi_python_client").joinpath("templates", CLIENT).read_text(encoding="utf-8")
    for piece, put in PATCHES:
        if (found := text.count(piece)) != 1:
            raise SpecError(
                f"{CLIENT}: {piece!r} is there {found} times, not once; correct spec/generator/templates.py"
            )
        text = text.replace(piece, put)
    (folder / CLIENT).write_text(text, encoding="utf-8")
