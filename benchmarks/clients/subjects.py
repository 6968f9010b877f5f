"""How each client is used: as its own documents say, with its own settings for retries and pauses."""

from collections.abc import Callable
from typing import Any, NamedTuple

KEY = "key-8d1f4c0b7a6e59321f0e"


class Calls(NamedTuple):
    """A client object, and what is called."""

    client: Any
    submit: Callable[[], Any]
    run: Callable[[float | None], Any] | None = None  # submit and wait, at most so many seconds


class Subject(NamedTuple):
    """One client."""

    calls: Callable[[str, float], Calls]  # for a base URL, and a timeout of each HTTP call in seconds
    imports: str  # the import of its documentation
    limit: float | None = None  # seconds to wait for a task that does not end; None when its wait takes no limit


def fal(url: str, timeout: float) -> Calls:
    """fal-client: submit; subscribe waits."""
    import fal_client.client

    fal_client.client.QUEUE_URL_FORMAT = f"{url}/"  # it has no setting for a host without TLS
    client = fal_client.SyncClient(key=KEY, default_timeout=timeout)
    task = ("fal-ai/flux/dev", {"prompt": "a"})
    return Calls(client, lambda: client.submit(*task), lambda limit: client.subscribe(*task, client_timeout=limit))


def replicate(url: str, timeout: float) -> Calls:
    """replicate: predictions.create, then prediction.wait."""
    import httpx
    import replicate

    client = replicate.Client(api_token=KEY, base_url=url, timeout=httpx.Timeout(timeout))

    def submit() -> Any:
        # `wait` sets the read timeout of a submission (1.5 s here); without it there is none, whatever the client has
        return client.predictions.create(version="0" * 64, input={"prompt": "a"}, wait=1)

    return Calls(client, submit, lambda _: submit().wait())


def runway(url: str, timeout: float) -> Calls:
    """runwayml: image_to_video.create, then wait_for_task_output."""
    from runwayml import RunwayML

    client = RunwayML(api_key=KEY, base_url=url, timeout=timeout)

    def submit() -> Any:
        picture = "https://example.com/a.jpg"
        return client.image_to_video.create(model="gen4_turbo", prompt_image=picture, ratio="1280:720")

    def run(limit: float | None) -> Any:
        return submit().wait_for_task_output(**({} if limit is None else {"timeout": limit}))

    return Calls(client, submit, run)


def luma(url: str, timeout: float) -> Calls:
    """lumaai: generations.create; its documents wait with a loop in user code."""
    from lumaai import LumaAI

    client = LumaAI(auth_token=KEY, base_url=url, timeout=timeout)
    return Calls(client, lambda: client.generations.create(model="ray-2", prompt="a"))


def openai(url: str, timeout: float) -> Calls:
    """openai: videos.create; videos.create_and_poll waits."""
    from openai import OpenAI

    client = OpenAI(api_key=KEY, base_url=url, timeout=timeout)
    video: dict[str, Any] = {"model": "sora-2", "prompt": "a"}
    return Calls(client, lambda: client.videos.create(**video), lambda _: client.videos.create_and_poll(**video))


def together(url: str, timeout: float) -> Calls:
    """together: videos.create; its documents wait with a loop in user code."""
    from together import Together

    client = Together(api_key=KEY, base_url=url, timeout=timeout)
    return Calls(client, lambda: client.videos.create(model="a/b", prompt="a"))


def unitask(url: str, timeout: float) -> Calls:
    """unitask: submit; run waits."""
    from unitask import Client, tasks

    client = Client(KEY, url, http_timeout=timeout)
    task = tasks.FluxSchnellTxt2Img(prompt="a")
    return Calls(client, lambda: client.submit(task), lambda limit: client.run(task, timeout=limit))


SUBJECTS = {
    # fal requires a limit of more than 1 s, and measures it with the real clock, between threads
    "fal-client": Subject(fal, "import fal_client", limit=1.1),
    "replicate": Subject(replicate, "import replicate"),
    "runwayml": Subject(runway, "from runwayml import RunwayML", limit=60.0),
    "lumaai": Subject(luma, "from lumaai import LumaAI"),
    "openai": Subject(openai, "from openai import OpenAI"),
    "together": Subject(together, "from together import Together"),
    "unitask": Subject(unitask, "from unitask import Client, tasks", limit=60.0),
}
