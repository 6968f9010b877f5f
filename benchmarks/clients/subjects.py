"""How each client is used: as its own documents say, with its own settings for retries and pauses."""

from typing import Any, ClassVar

KEY = "key-8d1f4c0b7a6e59321f0e"


class Subject:
    """One client, for a base URL and a timeout of each call in seconds.

    Attributes:
        IMPORT: The import of its documentation.
        LIMIT: Seconds to wait for a task that does not end; None when its wait takes no time limit.
        client: The client object.
        run: Submit a task and wait for it, at most so many seconds; None when the package has no wait.
    """

    IMPORT: ClassVar[str]
    LIMIT: ClassVar[float | None] = None
    client: Any
    run: Any = None

    def submit(self) -> Any:
        """Submit a task and return what the client returns."""
        raise NotImplementedError


class Fal(Subject):
    """fal-client: submit; subscribe waits."""

    IMPORT = "import fal_client"
    LIMIT = 1.1  # it requires more than 1, and measures it with the real clock, between threads

    def __init__(self, url: str, http_timeout: float) -> None:
        import fal_client.client

        fal_client.client.QUEUE_URL_FORMAT = f"{url}/"  # it has no setting for a host without TLS
        self.client = fal_client.SyncClient(key=KEY, default_timeout=http_timeout)

    def submit(self) -> Any:
        return self.client.submit("fal-ai/flux/dev", {"prompt": "a"})

    def run(self, limit: float | None) -> Any:
        return self.client.subscribe("fal-ai/flux/dev", {"prompt": "a"}, client_timeout=limit)


class Replicate(Subject):
    """replicate: predictions.create, then prediction.wait."""

    IMPORT = "import replicate"

    def __init__(self, url: str, http_timeout: float) -> None:
        import httpx
        import replicate

        self.client = replicate.Client(api_token=KEY, base_url=url, timeout=httpx.Timeout(http_timeout))

    def submit(self) -> Any:
        # `wait` sets the read timeout of a submission (1.5 s here); without it there is none, whatever the client has
        return self.client.predictions.create(version="0" * 64, input={"prompt": "a"}, wait=1)

    def run(self, _: float | None) -> Any:
        return self.submit().wait()


class Runway(Subject):
    """runwayml: image_to_video.create, then wait_for_task_output."""

    IMPORT = "from runwayml import RunwayML"
    LIMIT = 60.0

    def __init__(self, url: str, http_timeout: float) -> None:
        from runwayml import RunwayML

        self.client = RunwayML(api_key=KEY, base_url=url, timeout=http_timeout)

    def submit(self) -> Any:
        picture = "https://example.com/a.jpg"
        return self.client.image_to_video.create(model="gen4_turbo", prompt_image=picture, ratio="1280:720")

    def run(self, limit: float | None) -> Any:
        given = {} if limit is None else {"timeout": limit}
        return self.submit().wait_for_task_output(**given)


class Luma(Subject):
    """lumaai: generations.create; its documents wait with a loop in user code."""

    IMPORT = "from lumaai import LumaAI"

    def __init__(self, url: str, http_timeout: float) -> None:
        from lumaai import LumaAI

        self.client = LumaAI(auth_token=KEY, base_url=url, timeout=http_timeout)

    def submit(self) -> Any:
        return self.client.generations.create(model="ray-2", prompt="a")


class OpenAI(Subject):
    """openai: videos.create; videos.create_and_poll waits."""

    IMPORT = "from openai import OpenAI"

    def __init__(self, url: str, http_timeout: float) -> None:
        from openai import OpenAI

        self.client = OpenAI(api_key=KEY, base_url=url, timeout=http_timeout)

    def submit(self) -> Any:
        return self.client.videos.create(model="sora-2", prompt="a")

    def run(self, _: float | None) -> Any:
        return self.client.videos.create_and_poll(model="sora-2", prompt="a")


class Together(Subject):
    """together: videos.create; its documents wait with a loop in user code."""

    IMPORT = "from together import Together"

    def __init__(self, url: str, http_timeout: float) -> None:
        from together import Together

        self.client = Together(api_key=KEY, base_url=url, timeout=http_timeout)

    def submit(self) -> Any:
        return self.client.videos.create(model="a/b", prompt="a")


class Unitask(Subject):
    """unitask: submit; run waits."""

    IMPORT = "from unitask import Client, tasks"
    LIMIT = 60.0

    def __init__(self, url: str, http_timeout: float) -> None:
        from unitask import Client, tasks

        self.task = tasks.FluxSchnellTxt2Img(prompt="a")
        self.client = Client(KEY, url, http_timeout=http_timeout)

    def submit(self) -> Any:
        return self.client.submit(self.task)

    def run(self, limit: float | None) -> Any:
        return self.client.run(self.task, timeout=limit)


SUBJECTS: dict[str, type[Any]] = {
    "fal-client": Fal,
    "replicate": Replicate,
    "runwayml": Runway,
    "lumaai": Luma,
    "openai": OpenAI,
    "together": Together,
    "unitask": Unitask,
}
