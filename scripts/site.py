"""Hooks of mkdocs.yml: pages of task types in the navigation, and links to files outside of docs/."""

import os
import re
from pathlib import Path
from typing import Any

REPOSITORY = "https://github.com/unitask/unitask/blob/main"


def on_config(config: Any) -> None:
    """Replace a folder in the navigation by its pages."""
    _fill(config.nav, Path(config.docs_dir))


def _fill(entries: list[Any], docs: Path) -> None:
    for entry in list(entries):
        if isinstance(entry, dict):
            for below in entry.values():
                if isinstance(below, list):
                    _fill(below, docs)
        elif entry.endswith("/"):
            entries.remove(entry)
            pages = sorted((docs / entry).glob("[!R]*.md"))
            entries += [{page.stem: f"{entry}{page.name}"} for page in pages]


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Let links to files of the repository outside of docs/ lead to GitHub."""
    folder = Path("docs", page.file.src_uri).parent

    def absolute(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / link[1]))
        return f"]({REPOSITORY}/{target.as_posix()}" if target.parts[0] != "docs" else link[0]

    return re.sub(r"\]\((\.\./[^)#\s]+)", absolute, markdown)
