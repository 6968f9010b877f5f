"""The openai library over the OpenAI-shaped endpoints of the local provider; LangChain: `make consumers`."""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import av
import httpx
import openai
import pytest
from PIL import Image
from pydantic import BaseModel, Field
from unitask_sandbox import Settings, running

HELLO: Any = [{"role": "user", "content": "Hello there"}]
SAID = "SIMULATED by the unitask sandbox. You asked: Hello there"


class Step(BaseModel):
    text: str
    minutes: int = Field(ge=2)


class Recipe(BaseModel):
    """A recipe."""

    name: str
    steps: list[Step]
    last: Step | None


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(Settings(engine_process=False)) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="sandbox", base_url=url, max_retries=0) as client:
        yield client


def picture() -> tuple[str, bytes]:
    file = io.BytesIO()
    Image.new("RGBA", (64, 32)).save(file, "PNG")
    return "a.png", file.getvalue()


def streamed(client: openai.OpenAI, **more: Any) -> Any:
    """The completion that the library puts together from a stream."""
    with client.chat.completions.stream(model="gpt-4o-mini", messages=HELLO, **more) as stream:
        return stream.get_final_completion()


def test_openai_chats_and_streams_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    chunks = [*client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True)]
    with_usage = streamed(client, stream_options={"include_usage": True})

    assert whole.choices[0].message.content == SAID
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert (with_usage.choices[0].message.content, with_usage.usage) == (SAID, whole.usage)


@pytest.mark.parametrize("read", ["parse", "stream"])
def test_openai_reads_structured_output(client: openai.OpenAI, read: str) -> None:
    if read == "parse":
        answer = client.chat.completions.parse(model="gpt-4o-mini", messages=HELLO, response_format=Recipe)
    else:
        answer = streamed(client, response_format=Recipe)
    recipe = answer.choices[0].message.parsed

    assert isinstance(recipe, Recipe)
    assert (recipe.name, recipe.steps[0].minutes >= 2) == ("SIMULATED", True)


@pytest.mark.parametrize("read", ["whole", "stream"])
def test_openai_calls_a_function_and_returns_its_result(client: openai.OpenAI, read: str) -> None:
    asked: Any = {"tools": [WEATHER], "tool_choice": "required"}
    if read == "whole":
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, **asked)
    else:
        answer = streamed(client, **asked)
    (choice,) = answer.choices
    (call,) = choice.message.tool_calls or ()
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    messages = [*HELLO, choice.message, result]
    last = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[WEATHER])

    assert choice.finish_reason == "tool_calls"
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert call.function.arguments == '{"place": "SIMULATED"}'
    assert last.choices[0].message.content == "SIMULATED by the unitask sandbox. You asked: rain"


def test_openai_raises_where_the_limit_cuts_structured_output(client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="gpt-4o-mini", messages=HELLO, response_format=Recipe, max_tokens=2)


Images = Callable[[openai.OpenAI], Any]
IMAGES: dict[str, Images] = {
    "generate": lambda client: client.images.generate(model="gpt-image-1", prompt="a lamp"),
    "edit": lambda client: client.images.edit(model="gpt-image-1", prompt="a lamp", image=picture()),
    "mask": lambda client: client.images.edit(model="gpt-image-1", prompt="a lamp", image=picture(), mask=picture()),
    "bytes": lambda client: client.images.edit(model="gpt-image-1", prompt="a", image=picture()[1], mask=picture()[1]),
    "several": lambda client: client.images.edit(model="gpt-image-1", prompt="a", image=[picture(), picture()]),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_openai_makes_and_edits_pictures(client: openai.OpenAI, kind: str) -> None:
    (made,) = IMAGES[kind](client).data

    assert made.b64_json.startswith("iVBORw0KGgo")


def test_openai_lists_models_and_speaks(client: openai.OpenAI) -> None:
    sound = client.audio.speech.create(model="tts-1", voice="alloy", input="Hello there.").read()
    with av.open(io.BytesIO(sound), "r", format="mp3") as file:
        seconds = (file.duration or 0) / av.time_base

    assert "gpt-4o-mini" in [model.id for model in client.models.list()]
    assert 0.5 < seconds < 5


def events_of(text: str) -> Iterator[str]:
    """Read server-sent events as simple parsers do: a blank line ends one, and what is no event ends all."""
    for event in text.split("\n\n"):
        if not event.startswith("data: "):
            return
        yield event.removeprefix("data: ")


def test_parser_that_splits_at_blank_lines_reads_every_event(url: str) -> None:
    body = {"model": "gpt-4o-image", "messages": HELLO, "stream": True}
    headers = {"authorization": "Bearer sandbox"}
    answer = httpx.post(f"{url}/chat/completions", json=body, headers=headers, trust_env=False)
    *chunks, end = events_of(answer.text)
    texts = [choice["delta"].get("content", "") for chunk in chunks for choice in json.loads(chunk)["choices"]]

    assert end == "[DONE]"
    assert any(re.fullmatch(r"!\[[^\]]*\]\(http\S+\.png\)", text) for text in texts)  # the link is in one delta
