"""`unitask login`, `logout`, `config` and `doctor`: the settings of the command line."""

import contextlib
import getpass
import importlib.metadata
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from typing import Annotated, NamedTuple

from typer import Option

from .. import errors
from .._base_client import checked_key
from .._core.recovery import CLOCKS_APART
from .._environment import transport_settings
from .._model.account import Account
from .._terminal import dollars, is_terminal, put, reason, say
from .._version import __version__
from ..client import Client
from . import _config
from ._client import unreachable
from ._config import KEY_VARIABLES, Setting
from ._output import put_json
from ._report import NoKey, exit_code

TIMEOUT = 10.0  # seconds for an answer
BaseUrl = Annotated[str | None, Option(metavar="URL", help="The provider (default: the one of `unitask config`).")]
AsJson = Annotated[bool, Option("--json", help="Print JSON.")]


def login(base_url: BaseUrl = None) -> None:
    """Store an API key, which is read from the terminal without echo, or from stdin."""
    url = _config.base_url(base_url).value
    given = ""
    with contextlib.suppress(EOFError):  # Ctrl-D
        if is_terminal(sys.stdin):
            given = getpass.getpass(f"API key for {url}: ")
        elif sys.stdin is not None:
            given = sys.stdin.readline()
    if not given.strip():
        raise errors.InvalidInput("no key was given: type it at the prompt, or give it on stdin")
    key = checked_key(given.strip())
    try:
        with Client(key, url, max_retries=0, http_timeout=TIMEOUT) as client:
            account = client.account()
    except errors.AuthenticationFailed:
        say("the key was not stored")
        raise
    except errors.UnitaskError as error:
        say(f"unitask: warning: the key could not be tried: {reason(error)}")
    else:
        say(f"{url} accepts the key{_about(account)}")
    say(f"the key is stored in {_config.store_key(url, key)}")
    for name in KEY_VARIABLES:
        if os.environ.get(name):
            say(f"unitask: warning: {name} is set, and wins over the stored key")


def _about(account: Account) -> str:
    facts = [f"account {account.name}" if account.name else "", f"balance {dollars(account.balance_usd) or 'unknown'}"]
    return f": {', '.join(filter(None, facts))}"


def logout(base_url: BaseUrl = None) -> None:
    """Remove the stored API key."""
    url = _config.base_url(base_url).value
    say(f"the key for {url} is removed" if _config.forget_key(url) else f"no key is stored for {url}")
    for name in KEY_VARIABLES:
        if os.environ.get(name):
            say(f"unitask: warning: {name} is set, and is still used")


def config(
    base_url: Annotated[
        str | None, Option(metavar="URL", help='Store this base URL for all commands; "" removes it.')
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the settings that are in force and where they come from, or store the base URL."""
    if base_url is not None:
        _config.store_base_url(base_url or None)
        say(f"the base URL {base_url} is stored" if base_url else "no base URL is stored")
        if os.environ.get("UNITASK_BASE_URL"):
            say("unitask: warning: UNITASK_BASE_URL is set, and wins over a stored base URL")
    url = _config.base_url()
    key = _config.api_key(url.value)
    shown = {
        "base URL": url,
        "key": Setting("(not shown)", key.source) if key else Setting("none", "`unitask login` stores one"),
        "proxy": _proxy(url.value),
        "settings": Setting(str(_config.config_file()), "XDG_CONFIG_HOME, or ~/.config"),
    }
    if as_json:
        put_json({name: setting._asdict() for name, setting in shown.items()})
    else:
        put(*(f"{name:<9} {setting.value}  ({setting.source})" for name, setting in shown.items()))


def _proxy(url: str) -> Setting:
    """Return the proxy for a URL, without its password."""
    proxy = transport_settings().proxy_url_for(url)
    if proxy is None:
        return Setting("none", "the environment names none for this URL")
    return Setting(re.sub(r"//[^/]*@", "//***@", proxy), "the environment")


class Finding(NamedTuple):
    """What a check of `unitask doctor` has found."""

    level: str  # ok, warn or fail
    name: str
    words: str
    next_step: str = ""
    code: int = 0  # the exit code of a failure


def doctor(base_url: BaseUrl = None, as_json: AsJson = False) -> int:
    """Check key, base URL, proxy, provider, clock, balance and installed extras. Nothing is paid."""
    findings: list[Finding] = []
    for finding in _findings(base_url):
        findings.append(finding)
        if not as_json:
            then = f"; {finding.next_step}" if finding.next_step else ""
            put(f"{finding.level:<4}  {finding.name:<9} {finding.words}{then}")
    if as_json:
        put_json([finding._asdict() for finding in findings])
    return next((finding.code for finding in findings if finding.code), 0)


def _findings(given: str | None) -> Iterator[Finding]:
    yield Finding("ok", "version", f"unitask {__version__}, Python {platform.python_version()}, {sys.platform}")
    yield from _extras()
    url = key = None
    try:
        url = _config.base_url(given)
        yield Finding("ok", "base URL", f"{url.value}, from {url.source}")
        key = _config.api_key(url.value)
        if key is None:
            raise NoKey(url.value, given)
        checked_key(key.value)
        yield Finding("ok", "key", f"from {key.source}")
        yield from _file_mode()
    except errors.UnitaskError as error:
        key = None
        yield _failure("key" if url else "base URL", error)
    if url is None:
        return
    try:
        yield Finding("ok", "proxy", _proxy(url.value).value)
    except errors.UnitaskError as error:
        yield _failure("proxy", error)
        return
    yield from _provider(url.value, key.value if key else None)


def _failure(name: str, error: errors.UnitaskError) -> Finding:
    return Finding("fail", name, reason(error), code=exit_code(error))


def _file_mode() -> Iterator[Finding]:
    file = _config.config_file()
    if os.name == "posix" and file.exists() and file.stat().st_mode & 0o077:
        yield Finding("warn", "key", f"other users can read {file}", f"`chmod 600 {file}`")


def _provider(url: str, key: str | None) -> Iterator[Finding]:
    """Yield what one free request shows; without a key, whether there is an answer."""
    begun = time.monotonic()
    account = balance = None
    with Client(key or "none", url, max_retries=0, http_timeout=TIMEOUT) as client:
        try:
            account = client.account()
            balance = account.balance_usd
        except errors.AuthenticationFailed as error:
            if key:
                yield _failure("key", error)
        except errors.UnitaskError as error:
            then = unreachable(url) if isinstance(error, errors.Unreachable) else ""
            yield _failure("provider", error)._replace(next_step=then)
            return
        yield Finding("ok", "provider", f"answers after {time.monotonic() - begun:.2f} s")
        if account is None:
            return
        dated = client._dated  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if dated is None:
        yield Finding("warn", "clock", "the answer has no Date header", "`unitask find` cannot compare times")
    else:
        apart = dated[1].unix - dated[0]
        words = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the provider's"
        then = "" if abs(apart) < CLOCKS_APART else "set the clock of this computer"
        yield Finding("warn" if then else "ok", "clock", words, then)
    then = "" if balance and balance > 0 else "top up the account before you submit tasks"
    yield Finding("warn" if then else "ok", "balance", dollars(balance) or "unknown", then)


def _extras() -> Iterator[Finding]:
    """Yield which packages of each extra are installed."""
    packages: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("unitask") or ():
        found = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", requirement)
        if found and found[1] != "unitask" and found[2] not in ("all", "dev"):
            packages.setdefault(found[2], []).append(found[1])
    versions = {name: _version(name) for name in {name for names in packages.values() for name in names}}
    # packages that are there for another extra say nothing about this one
    shared = {name for names in packages.values() if all(versions[one] for one in names) for name in names}
    for extra, names in sorted(packages.items()):
        missing = [name for name in names if not versions[name]]
        own = [name for name in names if versions[name] and name not in shared]
        install = f"`pip install 'unitask[{extra}]'` installs it"
        if not missing:
            yield Finding("ok", "extra", f"[{extra}] {', '.join(f'{name} {versions[name]}' for name in names)}")
        elif len(own) > len(missing):
            yield Finding("warn", "extra", f"[{extra}] lacks {', '.join(missing)}", install)
        else:
            yield Finding("ok", "extra", f"[{extra}] is not installed: {install}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
