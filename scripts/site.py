"""Hooks of mkdocs.yml: navigation to task types, links, examples in docstrings, scripts of openapi.html."""

import json
import os
import re
import textwrap
from pathlib import Path
from typing import Any

from griffe import Extension, Object
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "sandbox/unitask_sandbox/page"
REPOSITORY = "https://github.com/unitask/unitask/blob/main"
SEARCH = {  # what a reader looks for comes first, and tables of the tests not at all
    "faq.md": {"boost": 4},
    "reference/errors.md": {"boost": 3},
    "scenarios.md": {"exclude": True},
    "coverage.md": {"exclude": True},
}


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
    if page.file.src_uri in SEARCH:
        page.meta["search"] = SEARCH[page.file.src_uri]
    if page.parent is None:
        page.meta["hide"] = ["navigation"]  # of one page
    folder = Path("docs", page.file.src_uri).parent

    def absolute(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / link[1]))
        return f"]({REPOSITORY}/{target.as_posix()}" if target.parts[0] != "docs" else link[0]

    return re.sub(r"\]\((\.\./[^)#\s]+)", absolute, markdown)


def on_files(files: Files, *, config: Any) -> None:
    """Add what renders the HTTP API: Redoc, and the documents that it reads, for a page without a server."""
    bundle = json.loads((ROOT / "generated/unitask_api/openapi.json").read_text(encoding="utf-8"))
    shown = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
    documents = {"_sandbox/page/openapi.json": shown, "openapi.json": {"x-tasks": bundle["x-tasks"]}}
    script = f"const documents = {json.dumps(documents)}\nfetch = async (name) => ({{ json: () => documents[name] }})"
    files.append(File.generated(config, "assets/openapi.js", content=script))
    for name in ("redoc.js", "redoc.standalone.js"):
        files.append(File.generated(config, f"assets/{name}", abs_src_path=str(PAGE / name)))


class Examples(Extension):
    """Show the section Example of a docstring as code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?<=^Example:\n)(    .*\n?|\n)+", _as_code, obj.docstring.value, flags=re.M)


def _as_code(section: re.Match[str]) -> str:
    code = textwrap.dedent(section[0]).strip()
    return textwrap.indent(f"```python\n{code}\n```\n", "    ")


def on_post_page(output: str, **_: Any) -> str:
    """Let the names of errors in the Python API lead to the page of errors."""
    return re.sub(
        r'<span title="unitask\.errors\.\w+">(\w+)</span>',
        lambda name: f'<a href="errors.html#{name[1].lower()}">{name[1]}</a>',
        output,
    )
