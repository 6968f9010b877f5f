"""The LLM endpoints (chat completions, images), which have the OpenAI form: a client of the openai library.

It differs from the library's defaults: a request is sent once, because each is paid; no redirect is followed; the key
is a value that no repr shows; proxies and certificates are those of the other clients; headers that the environment has
for OpenAI are not sent to this provider. Errors are the library's own.
"""

import os
from importlib import import_module
from typing import Any

from ._environment import DEFAULT_BASE_URL, transport_settings
from ._model.secret import Hider, Secret
from ._telemetry import keep_out_of_logs

LONG_ANSWERS = "https://proxy.piapi.ai"  # the other host cuts connections after 120 seconds (LLM timeout page, 2025)
ANSWER_TIMEOUT = 600.0  # seconds; a long answer takes minutes


def client_of(
    kind: str, key: str, base_url: str, proxy: str | None, headers: dict[str, str], *, long_answers: bool
) -> Any:
    """Return a client of the openai library: an object of its class "OpenAI" or "AsyncOpenAI"."""
    if long_answers and base_url == DEFAULT_BASE_URL:
        base_url = LONG_ANSWERS
    try:
        library = import_module("openai")
    except ImportError:
        raise ModuleNotFoundError("the openai library is not installed: pip install 'unitask[llm]'") from None
    settings = transport_settings(proxy)
    proxy = settings.proxy_url_for(base_url)
    # A redirect would send the prompt, and headers of the user, to another host.
    make_http = library.DefaultHttpxClient if kind == "OpenAI" else library.DefaultAsyncHttpxClient
    http = make_http(verify=settings.verify, proxy=proxy, trust_env=False, follow_redirects=False)
    client = getattr(library, kind)(
        api_key=Secret(key),
        base_url=f"{base_url}/v1",
        timeout=ANSWER_TIMEOUT,
        max_retries=0,
        default_headers={**_without_those_of_openai(library, key), **headers},
        http_client=http,
    )
    client.unitask_hider = Hider(key)  # lives as long as the client
    keep_out_of_logs(client.unitask_hider)
    return client


def _without_those_of_openai(library: Any, key: str) -> dict[str, Any]:
    """Return default headers in place of those that the library reads from the environment, for an account at OpenAI.

    It reads them in each copy of a client, too, so they cannot be removed from the client.
    """
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    names = {line.partition(":")[0].strip() for line in lines if ":" in line}
    keys = [name for name in names if name.lower() == "authorization"]
    omitted = dict.fromkeys(names.difference(keys) | {"OpenAI-Organization", "OpenAI-Project"}, library.Omit())
    return {**omitted, **({"Authorization": Secret(f"Bearer {key}")} if keys else {})}
