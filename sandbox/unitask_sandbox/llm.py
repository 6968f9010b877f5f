"""The OpenAI-shaped endpoints, simulated: the same request gets the same words and the same picture, marked SIMULATED.

The last chunk of a stream has an empty usage, as clients met it. A chat model that makes pictures answers with one in
Markdown. Nothing is charged.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from unitask_sandbox import bundle
from unitask_sandbox.engines.simulated.outputs import MARK

MOST_ANSWERS = 10  # whatever n is

QUOTED = 200  # characters of a question that are repeated in its answer


def read_image(body: bytes | Mapping[str, str]) -> dict[str, Any]:
    """Read the request for a picture: a body of JSON, or the fields of a form with a picture to change."""
    if isinstance(body, bytes):
        return cast("dict[str, Any]", bundle.check("ImageRequest", bundle.read_json(body)))
    read: dict[str, Any] = {name: value for name, value in body.items() if name not in ("image", "image[]")}
    if read.keys() != body.keys():
        read["image"] = "a picture"
    if re.fullmatch("-?[0-9]{1,40}", read.get("n", "")):
        read["n"] = int(read["n"])
    return cast("dict[str, Any]", bundle.check("ImageEditRequest", read))


def completion(request: Mapping[str, Any], created: float, picture: str | None = None) -> dict[str, Any]:
    """Return the completion of a chat; `picture` is the address of one that it made."""
    last = question(request)
    text = f"![{MARK}]({picture})" if picture else f"{MARK}. You asked: {last[:QUOTED]}"
    count = answers(request)
    sent, received = words(last), count * words(text)
    identity = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    return {
        "id": f"chatcmpl-{identity[:24]}",
        "object": "chat.completion",
        "created": int(created),
        "model": request["model"],
        "choices": [
            {"index": number, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for number in range(count)
        ],
        "usage": {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received},
        "system_fingerprint": "SIMULATED",
    }


def answers(request: Mapping[str, Any]) -> int:
    """Return how many answers a request gets."""
    requested: int = request.get("n", 1)
    return max(1, min(requested, MOST_ANSWERS))


def stream(whole: Mapping[str, Any]) -> Iterator[str]:
    """Yield a completion as server-sent events; the last one says that it ends."""
    sent: list[list[dict[str, Any]]] = []
    for choice in whole["choices"]:
        # a link is one piece: clients look for it in each delta
        pieces = [
            {"content": piece}
            for piece in re.findall(r" *!\[[^\]]*\]\([^)]*\)| *[^ ]+| +", choice["message"]["content"])
        ]
        for delta in ({"role": "assistant", "content": ""}, *pieces, {}):
            end = None if delta else choice["finish_reason"]
            sent.append([{"index": choice["index"], "delta": delta, "finish_reason": end}])
    for choices in (*sent, []):
        usage: dict[str, Any] | None = None if choices else {}
        chunk = {**whole, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
        yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


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
