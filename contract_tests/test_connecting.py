"""What stands between `unitask contract` and a provider: the environment, a wrong address, a mock without tasks."""

from __future__ import annotations

import itertools
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask.cli import main
from unitask_contract import connecting, provider, runner
from unitask_contract.connecting import CannotRun
from unitask_contract.provider import Money
from unitask_sandbox import Settings, running

from .test_third_party_providers import KEY, serving

Captured = pytest.CaptureFixture[str]
Answers = Callable[[httpx.Request], httpx.Response]
HTML = {"content-type": "text/html"}
JSON = {"content-type": "application/json"}
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (*connecting.PROXIES, connecting.NO_PROXY, *connecting.CERTIFICATES, connecting.KEY_LOG)
    for name in names:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def local() -> Iterator[str]:
    with running(Settings(keys={KEY: 100.0}, engine_process=False)) as base_url:
        yield base_url


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:1080", "proxy"),
        ("https_proxy", "socks5://127.0.0.1:1080", "socksio"),
        ("HTTP_PROXY", "http://me:pass-word@[oops", "proxy"),
        ("NO_PROXY", "localhost,[::1]", ""),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "No such file"),
        ("SSL_CERT_FILE", __file__, ""),
        ("SSLKEYLOGFILE", "/nowhere/keys.log", "No such file"),
    ],
)
def test_environment_that_cannot_be_used_is_2(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(name, value)

    assert main(["contract", "--base-url", "http://api.provider.test", "--key", KEY]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert name in said
    assert words in said
    assert "pass-word" not in said


def test_environment_is_nothing_to_the_sandbox_in_process(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1080")

    assert main(["contract", "--checks", "account,keys"]) == 0, capsys.readouterr()


def test_provider_on_this_machine_is_reached_without_the_proxy(local: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(200, HTML, b"<html>the proxy</html>") as proxy:
        for name in connecting.PROXIES:
            monkeypatch.setenv(name, proxy)
        for base_url in (local, local.replace("127.0.0.1", "localhost")):
            with provider.remote(base_url, KEY, Money(0.05)) as subject:
                result = runner.made(subject, *runner.chosen(["keys"]))
            assert result.outcome is runner.Outcome.KEPT, result.detail


def test_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("HTTP_PROXY", NOBODY)

    assert main(["contract", "--base-url", "http://provider.test", "--key", KEY]) == 2
    assert "http://provider.test (through the proxy of HTTP_PROXY)" in capsys.readouterr().err


def test_page_of_a_proxy_is_no_broken_contract(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    with serving(403, HTML, b"<html>blocked by the proxy</html>") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        code = main(["contract", "--base-url", "http://provider.test", "--key", KEY])

    assert code == 2
    assert "HTTP 403, text/html: <html>blocked by the proxy</html>" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, HTML, b"<!DOCTYPE html><title>Shop</title>"),
        (404, HTML, b"<h1>404</h1>"),
        (404, {}, b""),
        (502, HTML, b"<h1>Bad gateway</h1>"),
        (200, JSON, b'{"status": "ok"}'),
        (404, JSON, b'{"detail": "Not Found"}'),
        (404, JSON, b'{"code": 404, "message": "no such route", "data": null}'),
        (404, JSON, b'{"message": "no Route matched with those values"}'),
        (400, JSON, b'{"error": {"message": "Invalid URL"}}'),
        (200, JSON, b"[1, 2]"),
    ],
)
def test_what_is_no_provider_is_2(status: int, headers: Any, body: bytes, capsys: Captured) -> None:
    with serving(status, headers, body) as base_url:
        assert main(["contract", "--base-url", base_url, "--key", KEY]) == 2

    (said,) = capsys.readouterr().err.splitlines()
    assert f"{base_url} is not a provider of this API" in said
    assert f"GET /account/info returns HTTP {status}, " in said
    assert "Give as --base-url what stands before /api/v1/task" in said


@pytest.mark.parametrize("status", [400, 402, 403, 500, 503])
def test_provider_that_refuses_everything_alike_is_2(status: int, capsys: Captured) -> None:
    with serving(
        status, JSON, json.dumps({"code": status, "message": f"not you, {KEY}", "data": None}).encode()
    ) as url:
        assert main(["contract", "--base-url", url, "--key", KEY]) == 2

    (said,) = capsys.readouterr().err.splitlines()
    assert f"refuses every request with HTTP {status}: " in said
    assert "not you, (the key)" in said


@pytest.mark.parametrize("more", ["/api/v1", "/api/v1/", "/api/v1/task", "/v1"])
def test_address_that_goes_too_far_is_2_and_the_right_one_is_named(more: str, local: str, capsys: Captured) -> None:
    assert main(["contract", "--base-url", f"{local}{more}", "--key", KEY]) == 2
    assert f"give --base-url {local}\n" in capsys.readouterr().err


def asking(answers: Answers, base_url: str = "https://p.test") -> connecting.Request:
    return httpx.Client(transport=httpx.MockTransport(answers), base_url=base_url).request


def test_address_that_does_not_go_far_enough_is_named() -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        inside = request.url.path.startswith("/api/account")
        return httpx.Response(200, json={"code": 200, "data": {"id": 1}}) if inside else httpx.Response(404)

    with pytest.raises(CannotRun, match=r"give --base-url https://p.test/api$"):
        connecting.greet("https://p.test", asking(answers), KEY)


def test_provider_without_an_account_is_one() -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        status = 400 if request.method == "POST" else 404
        return httpx.Response(status, json={"code": status, "message": "no", "data": None})

    connecting.greet("https://p.test", asking(answers), KEY)


def example(task_id: str) -> dict[str, Any]:
    task = {"task_id": task_id, "status": "completed", "model": "kling", "a_new_field": 1}
    return {"code": 200, "message": "success", "data": task}


MOCKS: dict[str, Answers] = {
    "one example for every id": lambda _: httpx.Response(200, json=example("550e8400-e29b-41d4-a716-446655440000")),
    "another id each time": lambda _: httpx.Response(200, json=example(str(uuid.uuid4()))),
    "the id that is asked for": lambda request: httpx.Response(200, json=example(request.url.path[13:])),
}


@pytest.mark.parametrize(
    "base_url",
    [
        "http://api..example",
        "http://[::1",
        "http://a b",
        "ftp://a.test",
        "http://",
        "http://xn--zzz--",
        "http://a.test:99999",
    ],
)
def test_address_that_is_none_is_2(base_url: str, capsys: Captured) -> None:
    assert main(["contract", "--base-url", base_url, "--key", KEY]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert base_url in said


def test_password_in_an_address_is_2_and_not_shown(capsys: Captured) -> None:
    assert main(["contract", "--base-url", "http://me:pass-word@127.0.0.1:1", "--key", KEY]) == 2
    said = capsys.readouterr().err
    assert "has a user name before its host" in said
    assert "pass-word" not in said


@pytest.mark.parametrize("answers", MOCKS.values(), ids=MOCKS.keys())
def test_mock_that_keeps_no_tasks_is_2(answers: Answers) -> None:
    seen: list[str] = []

    def noted(request: httpx.Request) -> httpx.Response:
        seen.append(request.method)
        return answers(request)

    with pytest.raises(CannotRun, match=r"keeps no tasks: .* such as Prism and Mockoon .* `unitask sandbox`"):
        connecting.greet("https://p.test", asking(noted), KEY)
    assert set(seen) == {"GET"}


def test_provider_that_forgets_its_tasks_has_one_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """A mock that refuses to show any task: one cause, no patch, and 1, since the contract is broken."""
    numbers = itertools.count()

    def answers(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and b"model" in request.content:
            return httpx.Response(200, json=example(f"task-{next(numbers)}"))
        return httpx.Response(404, json={"code": 404, "message": "task not found", "data": None, "new": 1})

    def open_http(base_url: str, within: float) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(answers), base_url=base_url)

    monkeypatch.setattr(provider, "open_http", open_http)
    monkeypatch.setattr(connecting, "NO_ROUTE", ())
    places = [tmp_path / f"out.{ending}" for ending in ("json", "html", "patch")]
    arguments = ["--base-url", "https://p.test", "--key", KEY, "--checks", "face_swap,end,echo,cancel"]
    code = main(["contract", *arguments, "--max-usd", "1", *(f"--report={place}" for place in places)])

    said, (document, page, patch) = capsys.readouterr().out, (place.read_text() for place in places)
    assert code == 1
    assert said.count("one cause explains what is broken: 4 tasks were created, and GET finds none of them") == 1
    assert "one cause explains" in page
    assert json.loads(document)["cause"]
    assert (patch, json.loads(document)["differences"]) == ("", [])
