"""The LLM endpoints (chat completions, images), which have the OpenAI form: a client of the openai library.

It differs from the library's defaults: a request is sent once, because each is paid; no redirect is followed; the key
is a value that no repr shows; proxies and certificates are those of the other clients. Errors are the library's own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._environment import transport_settings
from ._model.secret import Hider, Secret
from ._telemetry import keep_out_of_logs

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

LONG_ANSWERS = "https://proxy.piapi.ai"  # the other host cuts connections after 120 seconds (LLM timeout page, 2025)
ANSWER_TIMEOUT = 600.0  # seconds; a long answer takes minutes


def sync_client(key: str, base_url: str, proxy: str | None, headers: dict[str, str]) -> OpenAI:
    """Return a sync client of the openai library."""
    client: OpenAI = _client("OpenAI", "DefaultHttpxClient", key, base_url, proxy, headers)
    return client


def async_client(key: str, base_url: str, proxy: str | None, headers: dict[str, str]) -> AsyncOpenAI:
    """Return an async client of the openai library."""
    client: AsyncOpenAI = _client("AsyncOpenAI", "DefaultAsyncHttpxClient", key, base_url, proxy, headers)
    return client


def _client(name: str, http_name: str, key: str, base_url: str, proxy: str | None, headers: dict[str, str]) -> Any:
    try:
        library = import_module("openai")
    except ImportError:
        raise ModuleNotFoundError("the openai library is not installed: pip install 'unitask[llm]'") from None
    settings = transport_settings(proxy)
    proxy = settings.proxy_url_for(base_url)
    # A redirect would send the prompt, and headers of the user, to another host.
    http = getattr(library, http_name)(verify=settings.verify, proxy=proxy, trust_env=False, follow_redirects=False)
    client = getattr(library, name)(
        api_key=Secret(key),
        base_url=f"{base_url}/v1",
        timeout=ANSWER_TIMEOUT,
        max_retries=0,
        default_headers=headers,
        http_client=http,
    )
    client.unitask_hider = Hider(key)  # lives as long as the client
    keep_out_of_logs(client.unitask_hider)
    return client
