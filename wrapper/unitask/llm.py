"""The LLM endpoints (chat completions, images), which have the OpenAI form: the openai library, set up for them.

What is different from the library's own defaults, and why: a request is sent once, because each is paid for; the key is
a value that no repr shows; proxies and certificates are used as every client of unitask uses them; the empty `usage`
with which a stream may end (clients, 2025) is None, as the library documents it. Blank keep-alive lines are skipped by
the library itself. Errors are the library's own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._environment import transport_settings
from ._model._json import as_object
from ._model.secret import Hider, Secret
from ._telemetry import keep_out_of_logs

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

LONG_ANSWERS = "https://proxy.piapi.ai"  # the other host cuts connections after 120 seconds (LLM timeout page, 2025)


ANSWER_TIMEOUT = 600.0  # seconds; a long answer takes minutes


class _Streams:
    """Goes before a client class of the library."""

    def _process_response_data(self, *, data: object, **about: Any) -> Any:
        """An event of a stream, without its empty usage."""
        fields = as_object(data)
        tidy: object = {**fields, "usage": None} if fields.get("usage") == {} else data
        read: Any = super()
        return read._process_response_data(data=tidy, **about)  # noqa: SLF001 - where the library reads each event


def sync_client(key: str, base_url: str, proxy: str | None, headers: dict[str, str]) -> OpenAI:
    """The sync client of the openai library."""
    client: OpenAI = _client("OpenAI", "DefaultHttpxClient", key, base_url, proxy, headers)
    return client


def async_client(key: str, base_url: str, proxy: str | None, headers: dict[str, str]) -> AsyncOpenAI:
    """The async client of the openai library."""
    client: AsyncOpenAI = _client("AsyncOpenAI", "DefaultAsyncHttpxClient", key, base_url, proxy, headers)
    return client


def _client(name: str, http_name: str, key: str, base_url: str, proxy: str | None, headers: dict[str, str]) -> Any:
    try:
        library = import_module("openai")
    except ImportError:
        raise ModuleNotFoundError("the openai library is not installed: pip install 'unitask[llm]'") from None
    kind: Any = type(name, (_Streams, getattr(library, name)), {})
    settings = transport_settings(proxy)
    proxy = settings.proxy_url_for(base_url)
    http = getattr(library, http_name)(verify=settings.verify, proxy=proxy, trust_env=False)
    where = f"{base_url}/v1"
    made = kind(
        api_key=Secret(key),
        base_url=where,
        timeout=ANSWER_TIMEOUT,
        max_retries=0,
        default_headers=headers,
        http_client=http,
    )
    made.unitask_hider = Hider(key)
    keep_out_of_logs(made.unitask_hider)
    return made
