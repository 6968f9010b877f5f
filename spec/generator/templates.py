"""Our templates, and changes to those of openapi-python-client.

A template in jinja/ replaces the packaged one. A patch replaces a piece of a packaged template. The piece must be there
exactly once; otherwise the package has changed, and the patch must be reviewed.
"""

import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

OWN = Path(__file__).with_name("jinja")


@dataclass(frozen=True, slots=True)
class Patch:
    """Replace `find` by `put` in `template`, because of `why`."""

    template: str
    why: str
    find: str
    put: str


class PatchError(Exception):
    """A packaged template does not have the piece of its patch."""


PATCHES = (
    Patch(
        "client.py.jinja",
        "headers hold the key",
        find='alias="headers")',
        put='alias="headers", repr=False)',
    ),
    Patch(
        "client.py.jinja",
        "cookies may hold a session",
        find='alias="cookies")',
        put='alias="cookies", repr=False)',
    ),
    Patch(
        "client.py.jinja",
        "they may hold a key, as auth or in a proxy",
        find='alias="httpx_args")',
        put='alias="httpx_args", repr=False)',
    ),
    Patch(
        "client.py.jinja",
        "the token is the key",
        find='type="str", default="", docstring="The token',
        put='type="str", default="field(repr=False)", docstring="The token',
    ),
    Patch(
        "client.py.jinja",
        "a call ends: httpx reads None as no limit at all",
        find="_timeout: httpx.Timeout | None = field(default=None,",
        put="_timeout: httpx.Timeout | None = field(default=httpx.Timeout(60.0),",
    ),
    Patch(
        "client.py.jinja",
        "every unexpected status is an error",
        find='    {{ declare_attr("raise_on_unexpected_status") | indent(4) }}\n',
        put="",
    ),
)


def write(folder: Path) -> None:
    """Write our templates and the patched ones into a folder.

    Raises:
        PatchError: A piece is not there exactly once.
    """
    shutil.copytree(OWN, folder, dirs_exist_ok=True)
    packaged = files("openapi_python_client").joinpath("templates")
    texts: dict[str, str] = {}
    for patch in PATCHES:
        text = texts.get(patch.template) or packaged.joinpath(patch.template).read_text(encoding="utf-8")
        if (found := text.count(patch.find)) != 1:
            raise PatchError(f"{patch.template}: {patch.find!r} is there {found} times, not once ({patch.why})")
        texts[patch.template] = text.replace(patch.find, patch.put)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
