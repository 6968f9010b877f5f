"""Generation: what is checked in is what the spec gives, on every run and whatever the hash seed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generator import async_client, emit
from generator.__main__ import PLACES, ROOT, SPEC, differences
from generator.bundle import SpecError
from generator.catalogue import emit_catalogue
from generator.emit import HEADER, generator_view
from generator.models import emit_models

from .conftest import Document, put


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate everything into a root folder, in a process with a hash seed of its own."""
    root = tmp_path_factory.mktemp("fresh")
    program = "import sys, pathlib; from generator.__main__ import generate; generate(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    subprocess.run([sys.executable, "-c", program, str(root)], cwd=SPEC, env=environment, check=True)
    return root


def test_generated_code_is_current_whatever_the_hash_seed(fresh: Path) -> None:
    files = [path for place in PLACES for path in (fresh / place).rglob("*.py")]

    assert differences(ROOT, fresh) == []
    assert files
    assert [path for path in files if not path.read_text().startswith(HEADER)] == []


def test_differences_names_changed_missing_and_extra_files(fresh: Path, tmp_path: Path) -> None:
    shutil.copytree(fresh, tmp_path, dirs_exist_ok=True)
    package = tmp_path / "generated" / "unitask_api"
    (package / "types.py").write_text("edited")
    (package / "errors.py").unlink()
    (package / "stray.py").write_text("")

    assert differences(fresh, tmp_path) == [f"generated/unitask_api/{name}.py" for name in ("errors", "stray", "types")]


def test_patch_fails_when_its_anchor_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(emit, "PATCHES", (*emit.PATCHES, ("gone", "")))

    with pytest.raises(SpecError, match="'gone' is there 0 times"):
        emit.write_templates(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("OpenAI", "Library", "has no .*OpenAI"),
        ("account = client.account()", "client.account()", "result ="),
    ],
)
def test_sync_client_without_an_anchor_or_with_an_example_of_another_form_stops_the_generation(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    for name in async_client.MODULES:
        (tmp_path / name).write_text((ROOT / "wrapper/unitask" / name).read_text().replace(old, new))

    with pytest.raises(SpecError, match=message):
        async_client.emit_async_client(tmp_path, tmp_path)
    assert list(tmp_path.glob("*async*")) == []


def view(document: Document, _folder: Path) -> object:
    return generator_view(document)


def rule(**keywords: Any) -> Document:
    return {"description": "x", **keywords}


TEXT = rule(type="string")
ACCOUNT, SWAP = "#/components/schemas/Account/properties", "#/components/schemas/FaceSwapInput/properties"
UNUSABLE: list[tuple[Callable[[Document, Path], object], str, object, str]] = [
    (view, "#/paths/~1account~1info/get/parameters", [{"in": "header", "name": "x", "schema": {}}], "in header"),
    (view, "#/paths/~1account~1info/get/responses", {"204": {"description": "x"}}, "must be 200 and default"),
    (emit_models, f"{ACCOUNT}/raw", TEXT, "cannot be called 'raw'"),
    (emit_models, f"{ACCOUNT}/class", TEXT, "cannot be called 'class'"),
    (emit_models, "#/components/schemas/FaceSwapOutput/properties/files", TEXT, "cannot be called 'files'"),
    (emit_models, f"{ACCOUNT}/odd", rule(type="null"), "no reader for"),
    (emit_models, f"{ACCOUNT}/odd", rule(enum=[1]), "no reader for"),
    (emit_models, "#/components/schemas/UploadRequest/properties/odd", rule(type="file"), "no type for"),
    (emit_catalogue, f"{SWAP}/class", TEXT, "cannot be called 'class'"),
    (emit_catalogue, f"{SWAP}/extra", TEXT, "cannot be called 'extra'"),
    (emit_catalogue, f"{SWAP}/x", rule(type="file"), "no type for"),
]


@pytest.mark.parametrize(("make", "place", "value", "message"), UNUSABLE, ids=range(len(UNUSABLE)))
def test_part_that_no_code_can_be_made_for_stops_the_generation(
    document: Document, tmp_path: Path, make: Callable[..., object], place: str, value: Any, message: str
) -> None:
    put(place, value)(document)

    with pytest.raises(SpecError, match=re.escape(message)):
        make(document, tmp_path / "tasks")


def test_models_return_a_field_of_several_types_unchanged(document: Document, tmp_path: Path) -> None:
    error = {"$ref": "#/components/schemas/TaskError"}
    fields = {"odd": rule(type=["string", "array", "null"], items={}), "new": rule(anyOf=[error, TEXT])}
    document["components"]["schemas"]["FaceSwapOutput"]["properties"] |= fields
    emit_models(document, tmp_path)
    text = (tmp_path / "models/faceswap.py").read_text()

    for name in fields:
        assert re.search(rf"def {name}\(self\) -> Any:\n.*\n +return self\.raw\.get\('{name}'\)", text)


def test_catalogue_names_each_type_of_an_input_field(document: Document, tmp_path: Path) -> None:
    put(f"{SWAP}/odd", rule(type=["string", "object", "array", "null"], items={}))(document)
    emit_catalogue(document, tmp_path / "tasks")
    text = (tmp_path / "tasks/faceswap.py").read_text()

    assert "    odd: str | Mapping[str, Any] | Sequence[Any] | None = None" in text
