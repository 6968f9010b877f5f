"""A recording: a folder with a JSON file for each exchange, in the order in which the exchanges ended.

    recording.json            the base URL, when the recording began, and the versions
    openapi.json.gz           the contract by which it was checked
    000001-create_task.json   an exchange: request, answer, times

A file is written in one piece when the exchange ends. The last file of a process that was killed may be incomplete; it
is left out, with a note.
"""

import gzip
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as attributes
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self, cast

from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.connecting import CannotRun
from unitask_contract.exchange import Exchange

ABOUT, CONTRACT = "recording.json", "openapi.json.gz"
FORMAT = 1
SIDES = ("request", "response")
SANDBOX = "unitask-sandbox"  # its Server header
OTHER = "other"  # in the file name of an exchange that answers no operation of the contract


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request or an answer, without secrets.

    Attributes:
        form: "json"; "events" for a stream of server-sent events; "text" for short text of another type; "bytes" for
            anything else, whose content is not kept; "none" without a body.
        kind: Its media type.
        size: Bytes, as the program received it: unpacked.
        sha256: Of the same bytes, when their content is not kept; else empty, because it would confirm a guess of what
            was removed.
        content: The JSON value; of events a list of [seconds since the request, text of an event]; the text; else None.
    """

    form: Literal["json", "events", "text", "bytes", "none"] = "none"
    kind: str = ""
    size: int = 0
    sha256: str = ""
    content: Any = None

    @property
    def raw(self) -> bytes:
        """The body as bytes; of other bytes than text, nothing."""
        if self.form == "json":
            return json.dumps(self.content, ensure_ascii=False).encode("utf-8", "surrogatepass")
        if self.form == "events":
            return "".join(text for _, text in self.content).encode("utf-8", "surrogateescape")
        return self.content.encode("utf-8", "surrogateescape") if self.form == "text" else b""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One exchange.

    Attributes:
        number: From 1, in the order in which the exchanges ended.
        operation: The operationId; empty when the contract has none for the request.
        method: In capitals.
        path: Without the query; ids are replaced as in the bodies.
        query: Without secrets.
        request_headers: The names in lower case; only those that matter, without secrets.
        request: The body of the request.
        started: When the request arrived: ISO 8601 in UTC.
        head_seconds: From there to the head of the answer.
        seconds: From there to the end of the answer.
        status: None when there was no answer.
        response_headers: As those of the request.
        response: The body of the answer.
        lost: Why there was no answer, or no whole one; else empty.
    """

    number: int
    operation: str
    method: str
    path: str
    query: str
    request_headers: Mapping[str, str]
    request: Body
    started: str
    head_seconds: float
    seconds: float
    status: int | None
    response_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    response: Body = field(default_factory=Body)
    lost: str = ""

    @property
    def exchange(self) -> Exchange:
        """The exchange, for the checks."""
        is_own = self.response_headers.get("server") == SANDBOX and self.response.form == "json"
        response = replace(self.response, content=_without_remarks(self.response.content)) if is_own else self.response
        raw = self.request.raw, self.status or 0, response.raw
        return Exchange(self.method, self.path, *raw, self.response.kind, self.query, self.file_name)

    @property
    def file_name(self) -> str:
        return f"{self.number:06}-{self.operation or OTHER}.json"

    def written(self) -> bytes:
        """Return the file of the exchange."""
        values = {each.name: getattr(self, each.name) for each in attributes(self)}  # asdict would copy the bodies
        values |= {side: {each.name: getattr(values[side], each.name) for each in attributes(Body)} for side in SIDES}
        return json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read the file of an exchange, which may be edited; raise ValueError if it is none."""
        try:
            values: dict[str, Any] = json.loads(content)
            sides: dict[str, Any] = {side: Body(**values[side]) for side in SIDES}
            one = cls(**values | sides)
            datetime.fromisoformat(one.started).timestamp()
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(str(error)) from None
        is_whole = _has_types(one, _TYPES) and _is_body(one.request) and _is_body(one.response)
        if not is_whole or {str} < {str, *map(type, [*one.request_headers.values(), *one.response_headers.values()])}:
            raise ValueError("a value has the wrong type")
        return one


def _without_remarks(answer: Any) -> Any:
    """Return an answer of the sandbox without what only the sandbox adds to the `meta` of a task, as "simulated"."""
    task = fields(fields(answer).get("data"))
    if not (meta := fields(task.get("meta"))):
        return answer
    known = bundle.component("TaskMeta")["properties"]
    return {**answer, "data": {**task, "meta": {name: part for name, part in meta.items() if name in known}}}


_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("operation", "method", "path", "query", "lost"), str),
    **dict.fromkeys(("head_seconds", "seconds"), int | float),
    **dict.fromkeys(("request_headers", "response_headers"), dict),
    "number": int,
    "status": int | None,
}
_TYPES_OF_BODY: Mapping[str, Any] = {"form": str, "kind": str, "size": int, "sha256": str}
_CONTENT: Mapping[str, Any] = {"json": object, "events": list, "text": str, "bytes": object, "none": object}


def _has_types(part: object, types: Mapping[str, Any]) -> bool:
    return all(isinstance(getattr(part, name), kind) for name, kind in types.items())


def _is_body(body: Body) -> bool:
    if not _has_types(body, _TYPES_OF_BODY) or not isinstance(body.content, _CONTENT.get(body.form, ())):
        return False
    events = cast("list[object]", body.content) if body.form == "events" else []
    return all(isinstance(one, list) and [*map(type, cast("list[object]", one))][1:] == [str] for one in events)


@dataclass(frozen=True, slots=True)
class Recording:
    """A folder with exchanges.

    Attributes:
        folder: The folder.
        base_url: Of the provider whose traffic it is, without a path, which may be a secret of a gateway.
        started: ISO 8601 in UTC.
        contract_version: Of unitask, when it was recorded.
    """

    folder: Path
    base_url: str
    started: str
    contract_version: str

    @classmethod
    def create(cls, folder: Path, base_url: str, started: str) -> Self:
        """Begin a recording in a folder that is new or empty; raise CannotRun for any other."""
        if folder.is_file():
            raise CannotRun(f"--to {folder}: this is a file; name a new folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise CannotRun(f"--to {folder}: the folder is not empty; name a new one")
            about = {
                "format": FORMAT,
                "base_url": "/".join(base_url.split("/")[:3]),
                "started": started,
                "contract_version": version("unitask"),
            }
            with (folder / ABOUT).open("x", encoding="utf-8") as file:  # of two recordings, one has the folder
                file.write(json.dumps(about, indent=1) + "\n")
            (folder / CONTRACT).write_bytes(gzip.compress(json.dumps(bundle.document()).encode(), mtime=0))
        except OSError as error:
            raise CannotRun(f"--to {folder}: it cannot be written ({error.strerror})") from None
        return cls(folder, *(str(about[name]) for name in ("base_url", "started", "contract_version")))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a recording; raise CannotRun if the folder is none."""
        try:
            about = fields(json.loads((folder / ABOUT).read_bytes()))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not JSON"
            raise CannotRun(
                f"{folder} is not a recording: {ABOUT} cannot be read ({why}); name a folder of `unitask record --to`"
            ) from None
        if about.get("format") != FORMAT:
            raise CannotRun(f"{folder} has format {about.get('format')!r}, and this unitask reads {FORMAT}")
        return cls(folder, *(str(about.get(name, "")) for name in ("base_url", "started", "contract_version")))

    def write(self, exchange: Recorded) -> None:
        """Write the file of an exchange; raise OSError, and leave no file, if that is impossible."""
        path, content = self.folder / exchange.file_name, exchange.written()
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            while content:  # a disk that is nearly full takes a part
                content = content[os.write(file, content) :]
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(file)

    def exchanges(self) -> Iterator[Recorded]:
        """Yield the exchanges in their order; files that are incomplete are left out: see `incomplete`."""
        return (one for _, one in self.files() if one)

    def incomplete(self) -> list[str]:
        """Return the names of the files that are no exchanges."""
        return [name for name, one in self.files() if one is None]

    def files(self) -> Iterator[tuple[str, Recorded | None]]:
        """Yield name and exchange of each file in their order, also behind the 999999th; None: it is incomplete."""
        paths = self.folder.glob("[0-9]*-*.json")
        for path in sorted(paths, key=lambda path: (path.name.index("-"), path.name)):
            try:
                one = Recorded.read(path.read_bytes())
            except (OSError, ValueError):
                one = None
            yield path.name, one

    def contract(self) -> dict[str, Any]:
        """Return the bundle by which it was recorded."""
        document: dict[str, Any] = json.loads(gzip.decompress((self.folder / CONTRACT).read_bytes()))
        return document
