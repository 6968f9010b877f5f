"""Generation: what is checked in is what the spec gives, on every run and whatever the hash seed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from generator import async_client, templates
from generator.__main__ import PLACES, ROOT, SPEC, differences
from generator.bundle import SpecError
from generator.catalogue import emit_catalogue
from generator.emit import HEADER, generator_view
from generator.models import emit_models


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate everything into a root folder, in a process with a hash seed of its own."""
    root = tmp_path_factory.mktemp("fresh")
    program = "import sys, pathlib; from generator.__main__ import generate; generate(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    subprocess.run([sys.executable, "-c", program, str(root)], cwd=SPEC, env=environment, check=True)
    return root


def test_generated_code_is_current_whatever_the_hash_seed(fresh: Path) -> None:
    assert differences(ROOT, fresh) == []


def test_differences_names_changed_missing_and_extra_files(fresh: Path, tmp_path: Path) -> None:
    shutil.copytree(fresh, tmp_path, dirs_exist_ok=True)
    package = tmp_path / "generated" / "unitask_api"
    (package / "types.py").write_text("edited")
    (package / "errors.py").unlink()
    (package / "stray.py").write_text("")

    assert differences(fresh, tmp_path) == [f"generated/unitask_api/{name}.py" for name in ("errors", "stray", "types")]


def test_every_generated_file_has_the_header(fresh: Path) -> None:
    files = [path for place in PLACES for path in (fresh / place).rglob("*.py")]

    assert files
    assert [path for path in files if not path.read_text().startswith(HEADER)] == []


@pytest.mark.parametrize("patch", templates.PATCHES, ids=range(len(templates.PATCHES)))
def test_patch_fails_when_its_anchor_is_gone(
    patch: templates.Patch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moved = templates.Patch(patch.template, patch.why, f"gone {patch.find}", patch.put)
    monkeypatch.setattr(templates, "PATCHES", (moved,))

    with pytest.raises(templates.PatchError, match="0 times"):
        templates.write(tmp_path)


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


@pytest.mark.parametrize(
    ("pointer", "value", "message"),
    [
        (("get", "parameters"), [{"in": "header", "name": "x", "schema": {}}], "parameters in header"),
        (("get", "responses"), {"204": {"description": "x"}}, "must be 200 and default"),
    ],
)
def test_uncovered_part_of_an_operation_stops_the_generation(
    document: dict[str, Any], pointer: tuple[str, str], value: Any, message: str
) -> None:
    method, key = pointer
    document["paths"]["/account/info"][method][key] = value

    with pytest.raises(SpecError, match=message):
        generator_view(document)


@pytest.mark.parametrize(
    ("schema", "field", "rule", "message"),
    [
        ("Account", "raw", {"type": "string"}, "cannot be called 'raw'"),
        ("Account", "class", {"type": "string"}, "cannot be called 'class'"),
        ("FaceSwapOutput", "files", {"type": "string"}, "cannot be called 'files'"),
        ("Account", "odd", {"type": "null"}, "no reader for"),
        ("Account", "odd", {"enum": [1]}, "no reader for"),
        ("UploadRequest", "odd", {"type": "file"}, "no type for"),
    ],
)
def test_models_refuse_a_field_without_a_usable_name_or_reader(
    document: dict[str, Any], tmp_path: Path, schema: str, field: str, rule: dict[str, Any], message: str
) -> None:
    document["components"]["schemas"][schema]["properties"][field] = {"description": "x", **rule}

    with pytest.raises(SpecError, match=message):
        emit_models(document, tmp_path)


@pytest.mark.parametrize(
    ("field", "rule"), [("class", {"type": "string"}), ("extra", {"type": "string"}), ("x", {"type": "null"})]
)
def test_catalogue_refuses_a_field_without_a_usable_name_or_type(
    document: dict[str, Any], tmp_path: Path, field: str, rule: dict[str, Any]
) -> None:
    document["components"]["schemas"]["FaceSwapInput"]["properties"][field] = {"description": "x", **rule}

    with pytest.raises(SpecError, match=r"add a rule to spec/generator/catalogue\.py"):
        emit_catalogue(document, tmp_path / "tasks")


@pytest.mark.parametrize(
    "rule",
    [
        {"type": ["string", "array", "null"], "items": {}},
        {"anyOf": [{"$ref": "#/components/schemas/TaskError"}, {"type": "string"}]},
    ],
)
def test_models_return_a_field_of_several_types_unchanged(
    document: dict[str, Any], tmp_path: Path, rule: dict[str, Any]
) -> None:
    document["components"]["schemas"]["FaceSwapOutput"]["properties"]["odd"] = {"description": "Odd.", **rule}
    emit_models(document, tmp_path)
    text = (tmp_path / "models/faceswap.py").read_text()

    assert 'def odd(self) -> Any:\n        """Odd."""\n        return self.raw.get(\'odd\')' in text


def test_catalogue_names_each_type_of_an_input_field(document: dict[str, Any], tmp_path: Path) -> None:
    rule = {"description": "x", "type": ["string", "object", "array", "null"], "items": {}}
    document["components"]["schemas"]["FaceSwapInput"]["properties"]["odd"] = rule
    emit_catalogue(document, tmp_path / "tasks")

    assert (
        "    odd: str | Mapping[str, Any] | Sequence[Any] | None = None" in (tmp_path / "tasks/faceswap.py").read_text()
    )
