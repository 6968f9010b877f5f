"""The page at /, in a headless Chromium: forms and the reference, made from the spec."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from unitask_api import contract
from unitask_sandbox.samples import ASTRONAUT, GRACE_HOPPER

from .browser import HOSTILE, chooser, is_loaded, part, put_portraits, rows


def test_two_photos_are_swapped_by_the_form(page: Any, expect: Any, serve: Any) -> None:
    site = serve(real=True)
    page.goto(f"{site.url}/#/new/FaceSwap")
    put_portraits(page)
    expect(page.get_by_text("512 \N{MULTIPLICATION SIGN} 600")).to_be_visible()
    page.get_by_role("button", name="Create task").click()
    image = part(page, "output").locator("img")
    expect(image).to_be_visible()

    assert is_loaded(image)
    assert image.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [512, 512]
    assert httpx.get(image.get_attribute("src")).content != ASTRONAUT.read_bytes()
    expect(page.locator(".detail-head .badge")).to_have_text("completed")
    expect(rows(page)).to_have_count(1)
    expect(rows(page).first).to_contain_text("FaceSwap")
    expect(rows(page).first).to_contain_text("$0.01")
    assert is_loaded(rows(page).first.locator("img"))
    assert all(is_loaded(given) for given in part(page, "input").locator("img").all())
    expect(part(page, "input").locator("img")).to_have_count(2)
    expect(part(page, "times")).to_contain_text("charge")
    expect(part(page, "raw")).to_contain_text('"status": "completed"')
    expect(page.locator("#balance")).to_have_text("$9.99 left")


def test_what_the_api_refuses_stands_at_the_field(page: Any, expect: Any, serve: Any) -> None:
    site = serve()
    page.goto(f"{site.url}/#/new/FluxSchnellTxt2Img")
    page.get_by_role("textbox", name="prompt", exact=False).first.fill("a lighthouse")
    page.get_by_text("optional fields").click()
    steps = page.get_by_label("width")
    steps.fill("0.5")
    page.get_by_role("button", name="Create task").click()

    expect(steps).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[data-field=width] .field-error")).to_contain_text("input.width")
    expect(steps).to_be_focused()
    expect(page.get_by_role("alert").filter(has_text="HTTP 400")).to_contain_text("See what is marked below.")
    page.goto(f"{site.url}/#/new/FaceSwap")
    page.get_by_role("button", name="Create task").click()
    expect(page.locator("[data-field=swap_image] .field-error")).to_contain_text("required")
    assert site.sandbox.history("sandbox")["total"] == 0


def test_every_task_type_has_a_form_whose_controls_have_names(page: Any, expect: Any, serve: Any) -> None:
    site = serve()
    page.goto(f"{site.url}/#/new")
    expect(page.get_by_role("heading", name="New task")).to_be_visible()
    for entry in contract.document()["x-tasks"]:
        page.evaluate("(hash) => { location.hash = hash; }", f"#/new/{entry['name']}")
        expect(page.get_by_role("form", name=entry["name"], exact=True)).to_be_attached()
        fields = contract.component(entry["input"]).get("properties", {})
        shown = page.locator(".task-form [data-field]").evaluate_all("(all) => all.map((one) => one.dataset.field)")
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("input, select, textarea, button, summary, a")]
                .filter((one) => !one.labels?.length && !one.ariaLabel && !one.textContent.trim())
                .map((one) => one.outerHTML)"""
        )

        assert set(fields) <= set(shown)
        assert nameless == []


def test_hostile_names_of_files_and_prompts_are_words(page: Any, expect: Any, serve: Any, tmp_path: Path) -> None:
    site = serve()
    page.goto(f"{site.url}/#/new/FaceSwap")
    named = {"name": f"{HOSTILE}.png".replace("/", ":"), "mimeType": "image/png", "buffer": ASTRONAUT.read_bytes()}
    for field in ("target_image", "swap_image"):
        chooser(page, field).set_input_files(named)
    expect(page.locator(".file-name").first).to_contain_text("onerror=alert(1)")
    page.get_by_role("button", name="Create task").click()
    expect(part(page, "input")).to_contain_text("onerror=alert(1)")
    page.goto(f"{site.url}/#/new/FluxSchnellTxt2Img")
    page.locator("[data-field=prompt] textarea").fill(HOSTILE)
    page.get_by_role("button", name="Create task").click()

    expect(part(page, "input")).to_contain_text("<script>alert(2)</script>")
    assert page.locator("main script, main img[onerror]").count() == 0


def test_file_of_a_field_that_takes_an_address_is_uploaded(page: Any, expect: Any, serve: Any) -> None:
    site = serve()
    page.goto(f"{site.url}/#/new/Seedance2")
    page.get_by_text("optional fields").click()
    chooser(page, "image_urls").set_input_files([ASTRONAUT, GRACE_HOPPER])
    expect(page.get_by_text("uploaded")).to_have_count(2)
    given = json.loads(shown_code(page, "JSON"))["input"]["image_urls"]

    assert [httpx.get(address).content for address in given] == [ASTRONAUT.read_bytes(), GRACE_HOPPER.read_bytes()]
    assert all(address.startswith(f"{site.url}/files/ephemeral/") for address in given)


def shown_code(page: Any, form: str) -> str:
    page.get_by_role("tab", name=form).click()
    code: str = page.locator(".request pre").inner_text()
    return code


def test_code_that_the_form_shows_does_the_same(page: Any, expect: Any, serve: Any, tmp_path: Path) -> None:
    site = serve(real=True)
    shutil.copy(ASTRONAUT, tmp_path)
    shutil.copy(GRACE_HOPPER, tmp_path)
    page.goto(f"{site.url}/#/new/FaceSwap")
    put_portraits(page)
    expect(page.locator(".chosen li")).to_have_count(2)
    ways = [[sys.executable, "-W", "error", "-c", shown_code(page, "Python")]]
    if shutil.which("curl"):
        ways.append(["sh", "-ec", shown_code(page, "curl")])
    for command in ways:
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    given = json.loads(shown_code(page, "JSON"))

    assert (given["model"], given["task_type"]) == ("Qubico/image-toolkit", "face-swap")
    assert site.sandbox.history("sandbox")["total"] == len(ways)
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".png"]


def test_reference_has_every_operation(page: Any, expect: Any, serve: Any) -> None:
    site = serve()
    page.goto(f"{site.url}/#/reference/create_task")
    expect(page.get_by_role("heading", name="Create a task")).to_be_visible()
    expect(page.locator(".reference .property").first).to_have_text("model")
    name = "faceswap.face-swap.request"
    words = contract.document()["components"]["examples"][name]["summary"]
    page.locator(".examples select").first.select_option(label=f"{words} ({name})")
    expect(page.locator(".examples .json").first).to_contain_text('"face-swap"')
    for operation in contract.operations().values():
        page.evaluate("(hash) => { location.hash = hash; }", f"#/reference/{operation.id}")
        expect(page.locator(".endpoint code")).to_have_text(operation.path)
        expect(page.locator(".endpoint .method")).to_have_text(operation.method)
