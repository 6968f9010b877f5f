"""The OpenAI-shaped endpoints, simulated: the same request gets the same words and the same picture, marked SIMULATED.

A chat is answered with a text, with JSON where `response_format` demands it, or with the call of a function
(`_called`). A word counts as one token. The last chunk of a stream has an empty usage, as clients met it, unless
`stream_options` asks for the usage. A chat model that makes pictures answers with one in Markdown. Nothing is charged.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from unitask_sandbox import bundle
from unitask_sandbox.engines.simulated.outputs import MARK
from unitask_sandbox.failures import Refusal
from unitask_sandbox.schema_instance import instance

MOST_ANSWERS = 10  # whatever n is

QUOTED = 200  # characters of a question that are repeated in its answer

# Pages of 2025, and tts-1 of a client
MODELS = (
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "claude-3-7-sonnet-20250219",
    "claude-sonnet-4-20250514",
    "gpt-4o-image",
    "gpt-image-1",
    "tts-1",
)

# A link is one piece: clients look for it in each delta.
_PIECE = re.compile(r" *!\[[^\]]{0,300}\]\([^)]{0,300}\)| *[^ ]+| +")


def models() -> dict[str, Any]:
    """Return the list of models."""
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": MARK} for name in MODELS]
    return {"object": "list", "data": listed}


def read_image(body: bytes | Mapping[str, str]) -> dict[str, Any]:
    """Read the request for a picture: a body of JSON, or the fields of a form with a picture to change."""
    if isinstance(body, bytes):
        return bundle.read("ImageRequest", body)
    read: dict[str, Any] = {name: value for name, value in body.items() if name not in ("image", "image[]")}
    if read.keys() != body.keys():
        read["image"] = "a picture"
    if re.fullmatch("-?[0-9]{1,40}", read.get("n", "")):
        read["n"] = int(read["n"])
    return cast("dict[str, Any]", bundle.check("ImageEditRequest", read))


def completion(request: Mapping[str, Any], created: float, picture: str | None = None) -> dict[str, Any]:
    """Return the completion of a chat; `picture` is the address of one that it made."""
    identity = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:24]
    function = _called(request)
    if function:
        parameters: dict[str, Any] = {"type": "object", **(function.get("parameters") or {})}
        whole = json.dumps(instance(parameters, f"the parameters of {function['name']}"), ensure_ascii=False)
    else:
        whole = f"![{MARK}]({picture})" if picture else _content(request)
    text, is_cut = _cut(whole, request)
    count = answers(request)
    sent, received = words(question(request)), count * words(text)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if function:
        call = {"id": f"call_{identity}", "type": "function", "function": {"name": function["name"], "arguments": text}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    end = "length" if is_cut else "tool_calls" if function else "stop"
    return {
        "id": f"chatcmpl-{identity}",
        "object": "chat.completion",
        "created": int(created),
        "model": request["model"],
        "choices": [{"index": number, "message": message, "finish_reason": end} for number in range(count)],
        "usage": {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received},
        "system_fingerprint": "SIMULATED",
    }


def _called(request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the function that a chat is answered with; None for a text.

    It is the function that tool_choice names, or the first for "required"; for "auto", the first whose name is in the
    last message, unless that is the result of a function.
    """
    functions: dict[str, dict[str, Any]] = {
        tool["function"]["name"]: tool["function"] for tool in request.get("tools") or ()
    }
    choice: Any = request.get("tool_choice") or "auto"
    name = None if isinstance(choice, str) else choice["function"]["name"]
    if (name and name not in functions) or (choice == "required" and not functions):
        raise Refusal(400, f"invalid request: tool_choice: tools has no function {name or ''}".rstrip())
    if name:
        return functions[name]
    if choice == "required":
        return next(iter(functions.values()))
    if choice == "none" or request["messages"][-1].get("role") == "tool":
        return None
    asked = question(request)
    return next((one for each, one in functions.items() if re.search(rf"\b{re.escape(each)}\b", asked)), None)


def _content(request: Mapping[str, Any]) -> str:
    """Return the text of an answer, as JSON where response_format demands it."""
    text = f"{MARK}. You asked: {question(request)[:QUOTED]}"
    wanted: dict[str, Any] = request.get("response_format") or {"type": "text"}
    if wanted["type"] == "json_object":
        return json.dumps({"answer": text}, ensure_ascii=False)
    if wanted["type"] == "json_schema":
        schema = wanted.get("json_schema", {}).get("schema", {})
        return json.dumps(instance(schema, "response_format"), ensure_ascii=False)
    return text


def _cut(text: str, request: Mapping[str, Any]) -> tuple[str, bool]:
    """Return a text up to a word of `stop` and to the limit of tokens, and whether that limit cut it."""
    stop: Any = request.get("stop")
    for word in cast("list[object]", stop) if isinstance(stop, list) else [stop]:
        if isinstance(word, str) and word:
            text = text.partition(word)[0]
    pieces = _PIECE.findall(text)
    most: int = request.get("max_completion_tokens") or request.get("max_tokens") or len(pieces)
    return "".join(pieces[: max(1, most)]), len(pieces) > max(1, most)


def answers(request: Mapping[str, Any]) -> int:
    """Return how many answers a request gets."""
    requested: int = request.get("n", 1)
    return max(1, min(requested, MOST_ANSWERS))


def stream(whole: Mapping[str, Any], usage: Mapping[str, Any]) -> Iterator[str]:
    """Yield a completion as server-sent events; the last chunk has the usage."""
    sent: list[list[dict[str, Any]]] = []
    for choice in whole["choices"]:
        for delta in (*_deltas(choice["message"]), {}):
            end = None if delta else choice["finish_reason"]
            sent.append([{"index": choice["index"], "delta": delta, "finish_reason": end}])
    for choices in (*sent, []):
        chunk = {**whole, "object": "chat.completion.chunk", "choices": choices, "usage": None if choices else usage}
        yield f"data: {json.dumps(chunk)}\n\n"  # ASCII: some clients end a line at U+2028 or U+0085, too
    yield "data: [DONE]\n\n"


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if not (calls := message.get("tool_calls")):
        yield {"role": "assistant", "content": ""}
        yield from ({"content": piece} for piece in _PIECE.findall(message["content"]))
        return
    for index, call in enumerate(calls):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield {"role": "assistant", "content": None, "tool_calls": [{"index": index, **call, "function": function}]}
        for piece in _PIECE.findall(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def question(request: Mapping[str, Any]) -> str:
    """Return the text of the last message."""
    content: Any = request["messages"][-1].get("content")
    parts = cast("list[object]", content) if isinstance(content, list) else [{"text": content}]
    texts = [cast("dict[str, Any]", part).get("text") for part in parts if isinstance(part, dict)]
    return " ".join(text for text in texts if isinstance(text, str))


def words(text: str) -> int:
    """Return about how many words a text has."""
    return text.count(" ") + 1


def size_of(request: Mapping[str, Any]) -> tuple[int, int]:
    """Return the requested width and height; 1024 for a side that cannot be read."""
    width, _, height = str(request.get("size", "")).partition("x")
    sides = [int(side) if side.isdecimal() and len(side) < 6 else 1024 for side in (width, height)]
    return sides[0], sides[1]
