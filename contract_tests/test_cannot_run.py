"""`unitask contract` ends with 2 and says why where nothing can be checked; that never counts as a broken contract."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from unitask.cli import main
from unitask_contract import connecting
from unitask_sandbox import Settings, running

from wrapper.tests.raw_server import Received, raw_server, response

from .support import KEY

Captured = pytest.CaptureFixture[str]
HTML, JSON = "content-type: text/html", "content-type: application/json"
NOWHERE = "http://127.0.0.1:1"
REMOTE = ("--base-url", NOWHERE)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*connecting.PROXIES, connecting.NO_PROXY, *connecting.CERTIFICATES, connecting.KEY_LOG):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("UNITASK_API_KEY", KEY)


def said_by(capsys: Captured, *arguments: str) -> str:
    assert main(["contract", *arguments]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert KEY not in said
    assert "pass-word" not in said
    return said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:1080"),
        ("HTTP_PROXY", "http://me:pass-word@[oops"),
        ("HTTP_PROXY", NOWHERE),
        ("NO_PROXY", "localhost,[::1]"),
        ("SSL_CERT_FILE", f"{__file__}/ca.pem"),
        ("SSLKEYLOGFILE", f"{__file__}/keys.log"),
    ],
)
def test_unusable_environment_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(name, value)

    assert name in said_by(capsys, "--base-url", "http://api.provider.test")
    assert main(["contract", "--checks", "keys"]) == 0  # the sandbox in-process needs no network


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (REMOTE, NOWHERE),
        ((*REMOTE, "--max-usd", "-1"), "--max-usd"),
        ((*REMOTE, "--timeout", "nan"), "--timeout"),
        ((*REMOTE, "--key", "a\nb"), "key"),
        ((*REMOTE, "--key", "schl\u00fcssel"), "key"),
        (("--families", "flix"), "general, acestep"),
        (("--checks", "ende"), "end"),
        (("--report", "out.pdf"), ".html, .xml, .json, .sarif, .patch"),
        (("--report", "nowhere/out.html"), "nowhere"),
        (("--report", "/proc/x.json"), "cannot be written"),
        (("--body", __file__, "--operation", "get_acount"), "get_account_info"),
        (("--base-url", "http://me:pass-word@127.0.0.1:1"), "user name"),
        *((("--base-url", url), url) for url in ("127.0.0.1", "http://api..example", "http://[::1", "http://a b")),
        *((("--base-url", url), url) for url in ("ftp://a.test", "http://", "http://xn--zzz--", "http://a.test:99999")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_unusable_argument_is_named(arguments: tuple[str, ...], named: str, capsys: Captured) -> None:
    assert named in said_by(capsys, *arguments)


def test_choice_without_checks_is_no_kept_contract(capsys: Captured) -> None:
    assert main(["contract", "--families", "general", "--checks", "accepted"]) == 2  # a check of task types
    assert capsys.readouterr().out.startswith("contract not checked whole: nothing to check\n")


def test_missing_key_is_named(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNITASK_API_KEY")

    assert "UNITASK_API_KEY" in said_by(capsys, *REMOTE)


def test_python_without_assertions_is_refused() -> None:
    run = subprocess.run([sys.executable, "-O", "-m", "unitask", "contract"], capture_output=True, check=False)

    assert (run.returncode, b"-O" in run.stderr) == (2, True)


@pytest.mark.parametrize(
    ("status", "body", "header"),
    [
        (200, b"<!DOCTYPE html><title>Shop</title>", HTML),
        (502, b"<h1>Bad gateway</h1>", HTML),
        (404, {"code": 404, "message": "no such route", "data": None}, JSON),
        (400, {"error": {"message": "Invalid URL"}}, JSON),
        (200, [1, 2], JSON),
        (307, b"", "location: http://elsewhere.test/account/info?a=b"),
        (200, b"not gzip", "content-encoding: gzip"),
        *((status, {"code": status, "message": f"not you, {KEY}", "data": None}, JSON) for status in (401, 403, 500)),
    ],
)
def test_server_that_is_not_a_provider_is_named(status: int, body: Any, header: str, capsys: Captured) -> None:
    with raw_server(lambda _: [response(status, body, header)]) as server:
        assert server.url in said_by(capsys, "--base-url", server.url)
    assert {request.method for request in server.requests} <= {"GET", "POST"}
    assert all(request.body == b"{}" for request in server.creates)


def example(task_id: str) -> dict[str, Any]:
    return {"code": 200, "message": "success", "data": {"task_id": task_id, "status": "completed", "a_new_field": 1}}


def test_mock_server_that_keeps_no_tasks_is_not_checked(capsys: Captured) -> None:
    with raw_server(lambda _: [response(200, example("550e8400-e29b-41d4-a716-446655440000"))]) as server:
        assert "mock" in said_by(capsys, "--base-url", server.url)
    assert server.creates == []


def test_provider_that_forgets_its_tasks_is_one_cause(tmp_path: Path, capsys: Captured) -> None:
    def respond(request: Received) -> Iterable[bytes]:
        if request.path == "/account/info":
            yield response(200, {"code": 200, "data": {"account_id": 1}}, JSON)
        elif b"model" in request.body:
            yield response(200, example(str(uuid.uuid4())), JSON)
        else:
            yield response(404, {"code": 404, "message": "task not found", "data": None, "new": 1}, JSON)

    document, patch = tmp_path / "out.json", tmp_path / "out.patch"
    with raw_server(respond) as server:
        arguments = ["--base-url", server.url, "--max-usd", "1", "--checks", "face_swap,echo,cancel"]
        assert main(["contract", *arguments, f"--report={document}", f"--report={patch}"]) == 1

    report = json.loads(document.read_text())
    (finding,) = report["findings"]
    assert finding["hint"] in capsys.readouterr().out
    assert (len(finding["checks"]), report["differences"], patch.read_text()) == (3, [], "")


def test_base_url_with_too_much_and_a_proxy_in_the_way_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    with running(Settings(keys={KEY: 1.0}, engine_process=False)) as url:
        for more in ("/api/v1/", "/api/v1/task"):
            assert "what stands before /api/v1/task" in said_by(capsys, "--base-url", f"{url}{more}")
        with raw_server(lambda _: [response(200, b"<html>the proxy</html>", HTML)]) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            for here in (url, url.replace("127.0.0.1", "localhost")):  # this machine needs no proxy
                assert main(["contract", "--base-url", here, "--checks", "keys"]) == 0
            assert "the proxy" in said_by(capsys, "--base-url", "http://provider.test")
