"""What the environment says of connections: used where it can be, named where it cannot, and never for this machine."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest
import unitask
from hypothesis import given
from hypothesis import strategies as st
from unitask import AsyncClient, Client, Output, Task, errors

from .pictures import encoded
from .script import TASK_ID, task_data
from .shells import KEY
from .shells import perform as perform_scripted

DONE = {"code": 200, "message": "success", "data": task_data("completed", output={})}
KINDS = {"sync": Client, "async": AsyncClient}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without proxies and certificates."""
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith("SSL"):
            monkeypatch.delenv(name)


class Server:
    """A server at 127.0.0.1 that answers everything with a finished task, or a file, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []  # the target, and the key
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.path, self.headers["x-api-key"] or self.headers["authorization"]))
                body = encoded() if "file" in self.path else json.dumps(DONE).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.send_header("content-type", "image/png" if "file" in self.path else "application/json")
                self.end_headers()
                self.wfile.write(body)

            def do_CONNECT(self) -> None:
                server.asked.append((self.path, self.headers["x-api-key"]))
                self.send_error(403)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """A provider and a proxy."""
    both = Server(), Server()
    yield both
    for each in both:
        each.close()


def perform(shell: str, base_url: str | None, call: Callable[[Any], Any]) -> Any:
    """Make a call over the network with a client of either kind."""
    if shell == "sync":
        with Client(KEY, base_url) as client:
            return call(client)

    async def main() -> Any:
        async with AsyncClient(KEY, base_url) as client:
            result = call(client)
            return await result if inspect.isawaitable(result) else result

    return asyncio.run(main())


def models(client: Any) -> Any:
    """A call of the openai library, and its end."""
    library = client.openai()
    if isinstance(client, Client):
        with library:
            return library.get("/models", cast_to=object)

    async def main() -> Any:
        async with library:
            return await library.get("/models", cast_to=object)

    return main()


NO_FILE = f"{__file__}/nowhere"
UNUSABLE: dict[str, dict[str, str]] = {
    "a proxy of a kind that there is not": {"ALL_PROXY": "socks://127.0.0.1:1080"},
    "its name in lower case": {"all_proxy": "socks4://127.0.0.1:1080"},
    "SOCKS without its package": {"ALL_PROXY": "socks5://127.0.0.1:1080"},
    "SOCKS with names looked up there": {"HTTPS_PROXY": "socks5h://127.0.0.1:1080"},
    "a proxy without a host": {"HTTP_PROXY": "http://"},
    "a port that is none": {"HTTP_PROXY": "http://proxy.test:port"},
    "a port beyond the last": {"HTTPS_PROXY": "http://proxy.test:99999"},
    "a name with an empty part": {"HTTPS_PROXY": "http://proxy..test:3128"},
    "a space": {"HTTP_PROXY": "http://proxy test:3128"},
    "an address of IPv6 that is none": {"HTTPS_PROXY": "http://[::g]:3128"},
    "a name that IDNA does not write": {"HTTPS_PROXY": "http://xn--a:3128"},
    "certificates that are not there": {"SSL_CERT_FILE": NO_FILE},
    "certificates that are none": {"SSL_CERT_FILE": __file__},
    "certificates that are a folder": {"SSL_CERT_FILE": str(Path(__file__).parent)},
    "a folder that is not there": {"SSL_CERT_DIR": NO_FILE},
    "a folder without certificates": {"SSL_CERT_DIR": str(Path(__file__).parent)},
    "a log that cannot be written": {"SSLKEYLOGFILE": f"{__file__}/log"},
    "a log that is a folder": {"SSLKEYLOGFILE": str(Path(__file__).parent)},
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_variable_that_cannot_be_used_is_named(shell: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its value, before anything is asked."""
    ((name, value),) = UNUSABLE[case].items()
    monkeypatch.setenv(name, value)

    with pytest.raises(errors.InvalidInput) as caught:
        KINDS[shell](KEY)

    assert f"{name} is {value!r}" in str(caught.value)


@pytest.mark.parametrize("address", ["socks://me:hush@proxy.test:1", "http://me:hush@proxy.test:99999", "me:hu/sh@"])
def test_password_of_a_proxy_is_not_shown(shell: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error stands in logs."""
    monkeypatch.setenv("HTTPS_PROXY", address)

    with pytest.raises(errors.InvalidInput, match="HTTPS_PROXY is") as caught:
        KINDS[shell](KEY)

    assert "sh@" not in str(caught.value)


@pytest.mark.parametrize(
    "usable",
    [
        {"NO_PROXY": "[::1]"},
        {"NO_PROXY": "[::1, :, ::1/200, *.., é, \u2028, http://, 10.0.0.0/8"},
        {"ALL_PROXY": "socks://127.0.0.1:1080", "NO_PROXY": "a.test,*"},
        {"HTTP_PROXY": "proxy.test:3128", "HTTPS_PROXY": "", "ALL_PROXY": "http://[::1]:3128/"},
        {"SSL_CERT_FILE": certifi.where(), "SSL_CERT_DIR": NO_FILE},
        {"SSL_CERT_FILE": "", "SSLKEYLOGFILE": ""},
    ],
    ids=str,
)
def test_variables_that_can_be_used_are_no_error(
    shell: str, usable: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that other variables leave without effect."""
    for name, value in usable.items():
        monkeypatch.setenv(name, value)

    KINDS[shell](KEY)


def test_certificates_are_those_of_the_present_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Contexts are shared by clients, as long as the variables and the files are what they were."""
    one = tmp_path / "one.pem"
    one.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(one))
    Client(KEY)

    one.unlink()
    with pytest.raises(errors.InvalidInput, match="SSL_CERT_FILE"):
        Client(KEY)
    monkeypatch.delenv("SSL_CERT_FILE")
    Client(KEY)


CALLS: dict[str, Callable[[Any], Any]] = {
    "a look": lambda client: client.get(TASK_ID),
    "the openai library": models,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_this_machine_is_never_asked_through_a_proxy(
    shell: str, variable: str, host: str, call: str, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy would get the key, and is not there where the provider is."""
    provider, proxy = servers
    monkeypatch.setenv(variable, proxy.url)

    perform(shell, f"http://{host}:{provider.port}", CALLS[call])

    assert len(provider.asked) == 1
    assert proxy.asked == []


@pytest.mark.parametrize("call", CALLS)
def test_other_hosts_are_asked_through_the_proxy(
    shell: str, call: str, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what the variable is for."""
    provider, proxy = servers
    monkeypatch.setenv("HTTP_PROXY", proxy.url)

    perform(shell, "http://provider.test", CALLS[call])

    ((target, key),) = proxy.asked
    assert target.startswith("http://provider.test/")
    assert key in (KEY, f"Bearer {KEY}")
    assert provider.asked == []


def test_downloads_choose_the_proxy_by_their_own_host(
    shell: str, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The provider may be on this machine and its files elsewhere, and the other way round."""
    files, proxy = servers
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    urls = [f"{files.url}/file-1.png", "http://files.test/a/../file-2.png?x=%2f"]
    done = Task(task_data("completed", output={"image_urls": urls}), Output)

    perform(shell, "http://provider.test", lambda client: client.download(done, f"{tmp_path}/"))

    assert files.asked == [("/file-1.png", None)]
    assert proxy.asked == [("http://files.test/a/../file-2.png?x=%2f", None)]


def test_download_over_tls_asks_the_proxy_for_a_tunnel_to_its_host(
    servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is sent as it was written is for the host, not for the proxy."""
    _, proxy = servers
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    output = {"image_url": "https://files.test/a/../b.png"}
    done = Task(task_data("completed", output=output), Output)

    with Client(KEY, sleep=lambda _: None) as client, pytest.raises(errors.DownloadFailed):
        client.download(done, tmp_path / "b.png")

    assert set(proxy.asked) == {("files.test:443", None)}


NO_PROXY = [  # the variable, what is asked directly, what is not
    ("*", ["http://a.test", "https://b.test:1"], []),
    ("a.test", ["http://a.test", "https://x.A.test:81"], ["http://xa.test", "http://a.test.org"]),
    (".a.test , *.b.test", ["http://x.a.test", "http://a.test", "http://y.b.test"], ["http://xa.test"]),
    ("a.test:8080", ["http://a.test:8080"], ["http://a.test", "https://a.test"]),
    ("a.test:443", ["https://a.test"], ["http://a.test"]),
    ("10.0.0.0/8,192.168.1.7", ["http://10.9.8.7", "http://192.168.1.7:1"], ["http://11.0.0.1", "http://10.test"]),
    ("fd00::/8,[fe80::1]:81", ["http://[fd12::1]", "http://[fe80::1]:81"], ["http://[fe80::1]"]),
    ("https://a.test", ["https://a.test"], ["http://a.test"]),
    ("bücher.test", ["http://bücher.test", "http://xn--bcher-kva.test"], ["http://bucher.test"]),
    ("", ["http://[::1]", "http://x.localhost:1", "http://0.0.0.0", "http://[::ffff:127.0.0.1]"], ["http://a.test"]),
]


@pytest.mark.parametrize(("variable", "direct", "proxied"), NO_PROXY)
def test_no_proxy_names_who_is_asked_directly(
    variable: str, direct: list[str], proxied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names with those below them, addresses, ranges of them, ports and schemes, as curl and others read them."""
    from unitask._environment import transport_settings

    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", variable)
    settings = transport_settings("https://provider.test")

    assert [url for url in direct if settings.proxy_url_for(url)] == []
    assert [url for url in proxied if not settings.proxy_url_for(url)] == []


def test_each_scheme_has_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """ALL_PROXY is for those without one of their own."""
    from unitask._environment import transport_settings

    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@secure.test:1")
    monkeypatch.setenv("ALL_PROXY", "other.test:2")
    settings = transport_settings("https://provider.test")

    secure, other = settings.proxy_url_for("https://a.test"), settings.proxy_url_for("http://a.test")
    assert (secure, other) == ("http://me:hush@secure.test:1", "http://other.test:2")
    assert "hush" not in repr(settings)


def test_every_request_says_who_sends_it(shell: str, tmp_path: Path) -> None:
    """To the provider and to the host of files: unitask and its version, not the library below."""
    agents: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        agents.append(request.headers["user-agent"])
        if request.url.host == "files.test":
            return httpx.Response(200, content=encoded(), headers={"content-type": "image/png"})
        return httpx.Response(200, json=DONE)

    output = {"image_url": "https://files.test/b.png"}
    done = Task(task_data("completed", output=output), Output)
    perform_scripted(shell, handler, lambda client: client.get(TASK_ID))
    perform_scripted(shell, handler, lambda client: client.download(done, tmp_path / "b.png"))

    assert agents == [f"unitask/{unitask.__version__}"] * 2


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


@given(url=URLS)
def test_base_url_is_one_that_can_be_asked_or_is_refused(url: str) -> None:
    """In the constructor; a name that cannot be looked up ends in no error of another library later."""
    try:
        client = Client(KEY, url)
    except errors.InvalidInput as error:
        refusal = str(error)
    else:
        refusal = ""
        client._connected().calls.base_url.raw_host.decode().encode("idna")  # what a lookup does first
        assert "@" not in client.base_url
    assert "hush" not in refusal


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://api..example",
            "http://.",
            "http://xn--a",
            "http://a:-1",
            "http://a:0",
            "http://a%20b",
            "http://@a.test",
        ),
        *(
            "http://[::1%eth0]",
            f"http://{'a' * 64}",
            "http://1.2.3.4.5",
            "http://a.test/\ud800",
            "http://a.test\\b",
            b"x",
            5,
        ),
    ],
    ids=ascii,
)
def test_base_url_that_cannot_be_asked_is_refused(shell: str, url: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown; one from the environment is shown with its variable."""
    with pytest.raises(errors.InvalidInput, match="base_url is"):
        KINDS[shell](KEY, url)
    if isinstance(url, str) and "\ud800" not in url:
        monkeypatch.setenv("UNITASK_BASE_URL", url)
        with pytest.raises(errors.InvalidInput, match="UNITASK_BASE_URL is"):
            KINDS[shell](KEY)
