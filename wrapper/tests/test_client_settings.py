"""How a client sends: repeats, headers, an own httpx client; proxies and certificates, given or of the environment."""

import asyncio
import gzip
import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest
import unitask
from hypothesis import example, given
from hypothesis import strategies as st
from unitask import Client, errors, tasks
from unitask._environment import USER_AGENT, transport_settings

from .pictures import encoded
from .raw_server import Hangup, RawServer, Received, raw_server, response
from .script import TASK_ID, answer, finished, refused, seen
from .shells import CLIENTS, FACE_SWAP, KEY, Body, fetch, get, in_turn, perform, provider, responded, submit

HTTP_CLIENTS: dict[str, Any] = {"sync": httpx.Client, "async": httpx.AsyncClient}
FILE = finished({"image_url": "http://127.0.0.1/file.png"})
PICTURE = answer(200, encoded())
BUSY, LIMITED, LOST, UNSENT = refused(500), refused(429), httpx.ReadTimeout("lost"), httpx.ConnectError("refused")


def download(client: Any) -> Any:
    return client.download(FILE, "out/")


@pytest.fixture(autouse=True)
def plain_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without the proxies and certificates of the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith("SSL"):
            monkeypatch.delenv(name)


REPEATS: dict[str, tuple[Callable[[Any], Any], list[Any], int | None, int]] = {
    "a submission after 429, by default": (submit, [LIMITED] * 4, None, 4),
    "a submission after 429": (submit, [LIMITED] * 2, 1, 2),
    "a submission after 429, never": (submit, [LIMITED], 0, 1),
    "a submission that never left": (submit, [UNSENT] * 3, 2, 3),
    "a submission that may have arrived": (submit, [LOST], 9, 1),
    "a poll": (get, [BUSY] * 3, 2, 3),
    "a poll, never": (get, [BUSY], 0, 1),
    "a poll of a wait": (lambda client: client.wait(TASK_ID), [seen("processing"), BUSY, LOST], 1, 3),
    "another call": (lambda client: client.account(), [BUSY, LOST], 1, 2),
    "another call, never": (lambda client: client.account(), [BUSY], 0, 1),
    "a count of tasks": (lambda client: client.active_tasks(), [BUSY, LOST], 1, 2),
    "a cancellation": (lambda client: client.cancel(TASK_ID), [BUSY], 0, 1),
    "a cancellation of many": (lambda client: client.cancel_many(created_before=1), [BUSY], 0, 1),
    "an upload": (lambda client: client.upload(encoded()), [BUSY], 0, 1),
    "a file, by default": (download, [BUSY] * 4, None, 4),
    "a file": (download, [BUSY] * 2, 1, 2),
    "a file, never": (download, [BUSY], 0, 1),
}


@pytest.mark.parametrize(("call", "script", "max_retries", "sent"), REPEATS.values(), ids=REPEATS)
def test_max_retries_limits_what_is_sent_again(
    shell: str, call: Callable[[Any], Any], script: list[Any], max_retries: int | None, sent: int
) -> None:
    answers = provider(*script)
    with pytest.raises(errors.UnitaskError):
        perform(shell, answers, call, max_retries=max_retries)

    assert len(answers.requests) == sent


SLOW = refused(429, retry_after="8")


@pytest.mark.parametrize(
    ("task", "script", "kind", "passed"),
    [
        (FACE_SWAP, [SLOW, SLOW], errors.RateLimited, 8.0),
        (tasks.Hug(image_url=encoded()), [SLOW, SLOW], errors.RateLimited, 8.0),  # its upload
        (FACE_SWAP, [SLOW, *[seen("processing")] * 9], errors.WaitTimeout, 10.0),
    ],
)
def test_timeout_of_a_run_limits_its_submission_and_its_wait_together(
    shell: str, task: Any, script: list[Any], kind: type[errors.UnitaskError], passed: float
) -> None:
    answers = provider(*script)
    with pytest.raises(kind):
        perform(shell, answers, lambda client: client.run(task, timeout=10.0))

    assert answers.clock.passed == pytest.approx(passed)


@pytest.mark.parametrize(
    ("given", "user_agent"), [({"X-Team": "a"}, USER_AGENT), ({"X-Team": "a", "User-Agent": "mine/1"}, "mine/1")]
)
def test_default_headers_go_to_the_provider_only(shell: str, given: dict[str, str], user_agent: str) -> None:
    answers = provider(seen(), PICTURE)
    perform(shell, answers, in_turn(submit, download), default_headers=given)

    api, file = (request.headers for request in answers.requests)
    assert (api["x-team"], api["user-agent"], api["x-api-key"]) == ("a", user_agent, KEY)
    assert not {"x-team", "x-api-key"} & file.keys()
    assert file["user-agent"] == USER_AGENT


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "Content-Length", "Host"])
def test_default_headers_cannot_replace_what_the_client_sets(name: str) -> None:
    with pytest.raises(errors.InvalidInput, match=f"{name}, which the client sets itself"):
        Client(KEY, default_headers={name: "x"})


def test_own_http_client_sends_every_request_as_it_is_set_and_stays_open(shell: str) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if "file" in str(request.url):
            return httpx.Response(200, stream=Body([PICTURE.body]))
        return responded(seen("pending" if request.method == "POST" else "completed"))

    given = HTTP_CLIENTS[shell](
        transport=httpx.MockTransport(handler),
        timeout=httpx.Timeout(1.0, read=2.0),
        headers={"x-mine": "1", "x-api-key": "another"},
        auth=("me", "word"),
    )
    perform(shell, provider(), lambda client: client.run(FACE_SWAP), transport=None, http_client=given)
    given_again = HTTP_CLIENTS[shell](transport=httpx.MockTransport(handler), auth=("me", "word"))
    perform(shell, provider(), download, transport=None, http_client=given_again)

    assert not given.is_closed
    *calls, file = requests
    assert [request.method for request in calls] == ["POST", "GET"]
    for api in calls:
        assert (api.headers["x-mine"], api.headers["x-api-key"], api.headers["user-agent"]) == ("1", KEY, USER_AGENT)
        assert "authorization" not in api.headers
        assert api.extensions["timeout"] == {"connect": 1.0, "read": 2.0, "write": 1.0, "pool": 1.0}
    assert not {"x-api-key", "authorization"} & file.headers.keys()


def test_own_http_client_does_not_follow_the_redirect_of_a_submission(shell: str) -> None:
    answers = provider(answer(307, location="https://else.test/"))
    given = HTTP_CLIENTS[shell](transport=answers.transport, follow_redirects=True)
    with pytest.raises(errors.ProviderBroken, match="not followed"):
        perform(shell, answers, submit, transport=None, http_client=given)


def hooked(shell: str, hook: Callable[[httpx.Response], Any], **settings: Any) -> Any:
    """Make an HTTP client with a hook for responses."""

    async def hook_async(answer: httpx.Response) -> None:
        result = hook(answer)
        _ = await result if inspect.isawaitable(result) else result

    hooks = {"response": [hook if shell == "sync" else hook_async]}
    return HTTP_CLIENTS[shell](event_hooks=hooks, **settings)


@pytest.mark.parametrize("length", [b"content-length", b"x-length"], ids=["given", "unknown"])
def test_file_that_a_hook_has_read_is_stored(shell: str, length: bytes) -> None:
    head = ("content-type: image/png", "content-encoding: gzip", "connection: close")

    def served(_: Received) -> Iterator[bytes]:
        yield response(200, gzip.compress(encoded()), *head).replace(b"content-length", length)
        raise Hangup

    with raw_server(served) as server:
        given = hooked(shell, lambda answer: answer.read() if shell == "sync" else answer.aread(), timeout=2)
        file = finished({"image_url": f"{server.url}/file.png"})
        [path] = perform(shell, server.url, lambda client: client.download(file, "out/"), http_client=given)

    assert path.read_bytes() == encoded()


def test_hook_that_raises_for_a_status_ends_a_download_in_a_typed_error(shell: str) -> None:
    answers = provider(answer(410))
    given = hooked(shell, httpx.Response.raise_for_status, transport=answers.transport)
    with pytest.raises(errors.DownloadFailed, match="410"):
        perform(shell, answers, download, transport=None, http_client=given)


def test_closed_http_client_sends_nothing() -> None:
    given = httpx.Client()
    client = Client(KEY, http_client=given)
    given.close()
    with pytest.raises(errors.InvalidInput, match="closed"):
        client.submit(FACE_SWAP)


@pytest.mark.parametrize(("shell", "given"), [("sync", "http_client"), ("sync", "transport"), ("async", "http_client")])
def test_connections_of_another_process_are_refused(shell: str, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = httpx.HTTPTransport()
    monkeypatch.setattr(transport, "handle_request", lambda _: responded(seen()))
    http_client = HTTP_CLIENTS[shell](transport=provider(seen()).transport)
    client = CLIENTS[shell](KEY, **{given: transport if given == "transport" else http_client})

    def call() -> object:
        return submit(client) if shell == "sync" else asyncio.run(submit(client))

    call()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    words = {
        "sync": "the transport or http_client of this client has connections of another process: "
        "make a client in each process",
        "async": "http_client has connections of another process or event loop: make a client in each",
    }
    with pytest.raises(errors.InvalidInput) as caught:
        call()
    assert str(caught.value) == f"the request was not sent: {words[shell]}"


def test_closing_a_client_closes_its_transport(shell: str) -> None:
    closed: list[str] = []

    class Closing(httpx.MockTransport):
        def close(self) -> None:
            closed.append("sync")

        async def aclose(self) -> None:
            closed.append("async")

    perform(shell, provider(), get, transport=Closing(lambda _: responded(seen())))
    assert set(closed) == {shell}


def test_request_that_cannot_be_made_is_not_in_doubt(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    given = HTTP_CLIENTS[shell]()
    monkeypatch.setattr(given, "build_request", fail)
    with pytest.raises(errors.Unreachable, match="RuntimeError: out of order"):
        perform(shell, provider(), submit, transport=None, http_client=given)


def test_openai_client_sends_default_headers(shell: str) -> None:
    assert CLIENTS[shell](KEY, default_headers={"X-Team": "a"}).openai().default_headers["x-team"] == "a"


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"proxy": "http://proxy.test"}, "http_client and proxy"),
        ({"transport": httpx.MockTransport(print)}, "transport and http_client"),
    ],
)
def test_http_client_excludes_what_it_replaces(shell: str, other: dict[str, Any], names: str) -> None:
    with pytest.raises(errors.InvalidInput, match=f"^{names} exclude each other: give one of them$"):
        CLIENTS[shell](KEY, http_client=HTTP_CLIENTS[shell](), **other)


def test_given_proxy_is_used_for_every_request(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def served(request: Received) -> list[bytes]:
        return [response(200, encoded() if "file" in request.path else seen("completed").body)]

    monkeypatch.setenv("NO_PROXY", "*")
    with raw_server(served) as server:
        perform(shell, "http://127.0.0.1:9", in_turn(get, download), proxy=server.url)

    paths = [f"http://127.0.0.1:9/api/v1/task/{TASK_ID}", FILE.output.files[0].url]
    assert [request.path for request in server.requests] == paths


Servers = tuple[RawServer, RawServer]


def served(request: Received) -> list[bytes]:
    """Answer with a finished task, a file, or the refusal of a tunnel."""
    if request.method == "CONNECT":
        return [response(403, b"")]
    if "file" in request.path:
        return [response(200, encoded(), "content-type: image/png")]
    return [response(200, seen("completed").body, "content-type: application/json")]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Start a provider and a proxy."""
    with raw_server(served) as provider, raw_server(served) as proxy:
        yield provider, proxy


def received(server: RawServer) -> list[tuple[str, str | None]]:
    """Return the target and the key of each request."""
    return [(each.path, each.headers.get("x-api-key") or each.headers.get("authorization")) for each in server.requests]


async def models(client: Any) -> None:
    """Make a call with the openai library, and close it."""
    library = client.openai()
    for result in (library.get("/models", cast_to=object), library.close()):
        _ = await result if inspect.isawaitable(result) else result


def test_submission_through_a_refused_tunnel_is_not_in_doubt(shell: str, servers: Servers) -> None:
    with pytest.raises(errors.Unreachable, match="ProxyError: 403"):
        perform(shell, "https://provider.test", submit, proxy=servers[1].url, max_retries=0)


NO_FILE = f"{__file__}/nowhere"
UNUSABLE: dict[str, tuple[str, str]] = {
    "an unknown kind of proxy": ("all_proxy", "socks://127.0.0.1:1080"),
    "SOCKS without its package": ("ALL_PROXY", "socks5://127.0.0.1:1080"),
    "a port beyond the last": ("HTTPS_PROXY", "http://proxy.test:99999"),
    "a base URL with an empty label": ("UNITASK_BASE_URL", "http://api..example"),
    "a base URL with the path of the API": ("UNITASK_BASE_URL", "https://api.piapi.ai/api/v1"),
    "missing certificates": ("SSL_CERT_FILE", NO_FILE),
    "a missing folder": ("SSL_CERT_DIR", NO_FILE),
    "a log that cannot be written": ("SSLKEYLOGFILE", f"{__file__}/log"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_variable_is_named(shell: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value = UNUSABLE[case]
    monkeypatch.setenv(name, value)
    with pytest.raises(errors.InvalidInput, match=re.escape(f"{name} is {value!r}")):
        CLIENTS[shell](KEY)

    monkeypatch.delenv(name)
    CLIENTS[shell](KEY)  # the failure is not cached


SHOWN = ["socks://me:hush@proxy.test:1", "http://me:hush@proxy.test:99999", "me:hush/@", "ftp://me:hush@proxy.test"]


@pytest.mark.parametrize("address", [*SHOWN, {"all://": SHOWN[0]}, b"me:hush@p"], ids=str)
def test_password_of_a_proxy_is_not_shown(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.InvalidInput, match="proxy is") as caught:
        Client(KEY, proxy=address)
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("HTTPS_PROXY", SHOWN[0])
    with pytest.raises(errors.InvalidInput, match="HTTPS_PROXY is") as caught:
        Client(KEY)
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(transport_settings("http://me:hush@proxy.test"))


def test_removed_certificate_is_noticed_by_the_next_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificates = tmp_path / "one.pem"
    certificates.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    Client(KEY)
    certificates.unlink()

    with pytest.raises(errors.InvalidInput, match="SSL_CERT_FILE"):
        Client(KEY)


@pytest.mark.parametrize(
    "usable",
    [
        {"NO_PROXY": "[::1, :, ::1/200, *.., é, \u2028, http://, 10.0.0.0/8"},
        {"ALL_PROXY": "socks://127.0.0.1:1080", "NO_PROXY": "a.test,*"},
        {"HTTP_PROXY": "proxy.test:3128", "HTTPS_PROXY": "", "ALL_PROXY": "http://[::1]:3128/"},
        {"SSL_CERT_FILE": certifi.where(), "SSL_CERT_DIR": NO_FILE},
    ],
)
def test_usable_variables_are_accepted(usable: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in usable.items():
        monkeypatch.setenv(name, value)

    Client(KEY)


@pytest.mark.parametrize("shell", ["sync", "async", "fast"])
@pytest.mark.parametrize("call", [get, models])
@pytest.mark.parametrize(
    ("variable", "host"), [("http_proxy", "127.0.0.1"), ("ALL_PROXY", "127.1"), ("HTTP_PROXY", "provider.test")]
)
def test_the_key_goes_through_a_proxy_except_to_this_machine(
    shell: str, variable: str, host: str, call: Any, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, proxy = servers
    monkeypatch.setenv(variable, proxy.url)
    url = provider.url.replace("127.0.0.1", host)
    perform(shell, url, call)

    this, that = (proxy, provider) if host == "provider.test" else (provider, proxy)
    ((target, key),) = received(this)
    assert target.startswith(f"{url}/" if this is proxy else "/")
    assert key in (KEY, f"Bearer {KEY}")
    assert received(that) == []


def test_downloads_choose_the_proxy_by_their_own_host(
    shell: str, servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files, proxy = servers
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    urls = [f"{files.url}/file-1.png", "http://files.test/a/../file-2.png?x=%2f"]
    fetch(shell, "http://provider.test", finished({"image_urls": urls}), f"{tmp_path}/")
    over_tls = finished({"image_url": "https://files.test/a/../b.png"})
    with Client(KEY, max_retries=0) as client, pytest.raises(errors.DownloadFailed):
        client.download(over_tls, tmp_path / "b.png")

    assert received(files) == [("/file-1.png", None)]
    assert set(received(proxy)) == {
        ("http://files.test/a/../file-2.png?x=%2f", None),
        ("files.test:443", None),  # a tunnel: the target itself is for the host
    }
    assert files.requests[0].headers["user-agent"] == f"unitask/{unitask.__version__}"


NO_PROXY = [  # the variable, direct connections, connections through the proxy
    ("*", ["http://a.test", "https://b.test:1"], []),
    ("a.test", ["http://a.test", "https://x.A.test:81"], ["http://xa.test", "http://a.test.org"]),
    (".a.test , *.b.test", ["http://x.a.test", "http://a.test", "http://y.b.test"], ["http://xa.test"]),
    ("a.test:8080", ["http://a.test:8080"], ["http://a.test", "https://a.test"]),
    ("a.test:443", ["https://a.test"], ["http://a.test"]),
    ("10.0.0.0/8,192.168.1.7", ["http://10.9.8.7", "http://192.168.1.7:1"], ["http://11.0.0.1", "http://10.test"]),
    ("fd00::/8,[fe80::1]:81", ["http://[fd12::1]", "http://[fe80::1]:81"], ["http://[fe80::1]"]),
    ("xn--bcher-kva.test", ["http://bücher.test", "http://xn--bcher-kva.test"], ["http://bucher.test"]),
    ("", ["http://[::1]", "http://x.localhost:1", "http://0.0.0.0", "http://[::ffff:127.0.0.1]"], ["http://a.test"]),
]


@pytest.mark.parametrize(("variable", "direct", "proxied"), NO_PROXY)
def test_no_proxy_names_hosts_with_a_direct_connection(
    variable: str, direct: list[str], proxied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", variable)
    settings = transport_settings()

    assert [url for url in direct if settings.proxy_url_for(url)] == []
    assert [url for url in proxied if not settings.proxy_url_for(url)] == []


def test_each_scheme_has_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@secure.test:1")
    monkeypatch.setenv("ALL_PROXY", "other.test:2")
    settings = transport_settings()

    assert settings.proxy_url_for("https://a.test") == "http://me:hush@secure.test:1"
    assert settings.proxy_url_for("http://a.test") == "http://other.test:2"
    assert "hush" not in repr(settings)


HOSTS = st.sampled_from(
    ["a.test", "a..test", ".", "..", "xn--a", "é.test", "[::1]", "[::1%eth0]", "[::g]", "1.2.3.4.5", "127.1", "a" * 64]
) | st.text(max_size=12)
URLS = st.text(max_size=20) | st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "ftp", ""]),
    st.sampled_from(["", "", "", "me:hush@", "@"]),
    HOSTS,
    st.sampled_from(["", "", ":80", ":0", ":-1", ":99999", ":x", ": 1", ":"]),
    st.sampled_from(["", "/", "/v1/", "/a b", "?q", "#f", "/\x00", "/\ud800", "\\", "/é"]),
)


@example(url="http://.")
@given(url=URLS)
def test_base_url_is_usable_or_refused(url: str) -> None:
    try:
        client = Client(KEY, url)
    except errors.InvalidInput as error:
        refusal = str(error)
    else:
        refusal = ""
        httpx.URL(client.base_url).raw_host.decode().encode("idna")  # what a lookup does first
        assert "@" not in client.base_url
    assert "hush" not in refusal
