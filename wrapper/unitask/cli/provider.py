"""The local provider: `sandbox` and `demo`."""

import errno
from pathlib import Path
from typing import Annotated, Literal

from typer import BadParameter, Context, Option
from unitask_api.json_types import printable

from .. import errors
from .._terminal import put, say
from ..media import from_home
from ._report import Place

REAL_CONCURRENCY = 5  # of the Creator plan, by a public client (2025); no page gives a rate
OPEN = "warning: everyone who can reach {} can use this sandbox; its key is not a secret, and nothing is encrypted"
SANDBOX_MISSING = "the local provider is not installed: pip install 'unitask[sandbox]'"


def _path(text: str) -> Path:
    return Path(from_home(text))


def _speed(text: str) -> Literal["instant", "real"] | float:
    named: dict[str, Literal["instant", "real"]] = {"instant": "instant", "real": "real"}
    try:
        return named[text] if text in named else float(text)
    except ValueError:
        raise BadParameter(f"{text!r} is not instant, real or a number") from None


def _key(text: str) -> tuple[str, float]:
    key, _, balance = text.partition("=")
    try:
        return key, float(balance or 10.0)
    except ValueError:
        raise BadParameter(f"the balance {balance!r} is not a number of dollars") from None


def sandbox(
    port: Annotated[int, Option(help="0 takes a free one.")] = 8042,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, Option(metavar="NAME", help="Accept this host name too; repeat it.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        Option(metavar="ORIGIN", help="Let web pages of this origin call the API; repeat it; * for all."),
    ] = None,
    public_url: Annotated[
        str | None,
        Option(metavar="URL", help="What addresses of files begin with, behind a proxy or in a container."),
    ] = None,
    accept_unknown: Annotated[
        bool,
        Option("--accept-unknown", help="Accept task types that the spec does not have; they are SIMULATED and free."),
    ] = False,
    seed: Annotated[
        int | None, Option(metavar="N", help="Give the same ids in each run (default: random ones).")
    ] = None,
    private_addresses: Annotated[
        Literal["none", "loopback", "all"] | None,
        Option(
            help="Private addresses that inputs and webhooks may name (default: loopback; none with another --host).",
        ),
    ] = None,
    speed: Annotated[str, Option(metavar="FACTOR", help="instant, real, or a factor.")] = "instant",
    data: Annotated[str | None, Option(metavar="FOLDER", help="Store tasks and files here.")] = None,
    concurrency: Annotated[
        int | None, Option(metavar="N", help="Concurrent tasks of a key (5 at --speed real).")
    ] = None,
    rate: Annotated[float | None, Option(metavar="N", help="Requests a second of a key (default: no limit).")] = None,
    key: Annotated[list[str] | None, Option(metavar="KEY=USD", help="Accept this key too; USD is its balance.")] = None,
    faults: Annotated[str | None, Option(metavar="FILE", help="Faults to play, in JSON: docs/faults.md.")] = None,
) -> None:
    """Run the local provider until Ctrl-C."""
    factor = _speed(speed)
    keys = {"sandbox": 10.0, **dict(map(_key, key or ()))}
    try:
        from unitask_sandbox import Settings, read_faults, serve  # an extra
    except ImportError:
        raise errors.InvalidInput(SANDBOX_MISSING) from None
    if concurrency is None and factor == "real":
        concurrency = REAL_CONCURRENCY
    if host not in ("localhost", "::1") and not host.startswith("127."):
        say(OPEN.format(host))
    try:
        settings = Settings(
            keys=keys,
            speed=factor,
            data=None if data is None else _path(data),
            concurrency=concurrency,
            rate=rate,
            allowed_hosts=tuple(allow_host or ()),
            allowed_origins=tuple(allow_origin or ()),
            public_url=public_url,
            accept_unknown=accept_unknown,
            seed=seed,
            private_addresses=private_addresses,
            faults=() if faults is None else read_faults(_path(faults)),
        )
        serve(settings, host=host, port=port, on_ready=lambda url: _announce(url, public_url))
    except BrokenPipeError:
        raise
    except (OSError, ValueError, OverflowError) as error:
        reason: object = error
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            reason = f"port {port} is taken: give another one with --port, or 0 for a free one"
        raise errors.InvalidInput(f"the sandbox cannot start: {reason}") from error


def _announce(url: str, public_url: str | None) -> None:
    place = f"{public_url}, and listens at {url}" if public_url else url
    put(f"The local provider is at {place}. It swaps real faces: have the consent of the persons shown.")
    say("Open the address in a browser, or paste the next line in another terminal. Ctrl-C stops it.")
    put(f"export UNITASK_BASE_URL={public_url or url} UNITASK_API_KEY=sandbox")


def demo(
    ctx: Context,
    out: Annotated[str, Option(metavar="FOLDER", help="The folder of the pictures.")] = "out/demo",
) -> None:
    """Swap two faces with the local provider."""
    try:
        from ..demo import demo as swap  # an extra
    except ImportError:
        raise errors.InvalidInput(SANDBOX_MISSING) from None
    ctx.obj = Place(goes_on=False)  # its provider ends with it
    swap(_path(out), say=lambda text: put(printable(text)))
    say("`unitask --help` has the first steps with your own pictures")
