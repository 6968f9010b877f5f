"""Changes to the templates of openapi-python-client, each as small as it can be.

A patch replaces one piece of a packaged template by another. A piece that is not there exactly `times` often is an
error: the generator has changed, and the patch must be looked at again. Packaged templates are never copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Patch:
    """In `template`, put `put` where `find` stands, because of `why`."""

    template: str
    why: str
    find: str
    put: str
    times: int = 1


class PatchError(Exception):
    """A packaged template is not what its patch was made for."""


_LAZY_NAMES = """

def __getattr__(name: str) -> _Any:
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(where, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_WHERE))
"""

PATCHES = (
    # --- importing stays cheap: a class is loaded when it is first used (PEP 562)
    Patch(
        "package_init.py.jinja",
        "importing the package does not import httpx",
        find="from .client import AuthenticatedClient, Client\n\n"
        '__all__ = (\n    "AuthenticatedClient",\n    "Client",\n)',
        put="""from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

if _TYPE_CHECKING:
    from .client import AuthenticatedClient, Client

_WHERE = {"AuthenticatedClient": ".client", "Client": ".client"}

__all__ = (
    "AuthenticatedClient",
    "Client",
)
"""
        + _LAZY_NAMES,
    ),
    Patch(
        "models_init.py.jinja",
        "one model does not load all models",
        find="{% for import in imports | sort %}\n{{ import }}\n{% endfor %}\n\n{% if imports %}\n",
        put="""{% if imports %}
from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

if _TYPE_CHECKING:
{% for import in imports | sort %}
    {{ import }}
{% endfor %}

_WHERE = {
{% for import in imports | sort %}
    "{{ (import | string).split(" import ")[1] }}": "{{ (import | string).split(" ")[1] }}",
{% endfor %}
}

""",
    ),
    Patch(
        "models_init.py.jinja",
        "the names are found on first use",
        find="    {% endfor %}\n)\n{% endif %}",
        put="    {% endfor %}\n]\n" + _LAZY_NAMES + "{% endif %}",
    ),
    Patch(
        "models_init.py.jinja",
        "of a tuple of more than 256 names one type checker does not know the type",
        find="__all__ = (",
        put="__all__ = [",
    ),
    Patch(
        "endpoint_module.py.jinja",
        "a request is built without httpx, and without the models of its answers",
        find="from typing import Any, cast\nfrom urllib.parse import quote\n\nimport httpx\n\n"
        "from ...client import AuthenticatedClient, Client\nfrom ...types import Response, UNSET\n"
        "from ... import errors\n\n"
        "{% for relative in endpoint.relative_imports | sort %}\n{{ relative }}\n{% endfor %}\n",
        put="""from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from ...types import UNSET, Unset
from ... import errors

{% set models = [] %}
{% for relative in endpoint.relative_imports | map("string") | sort if "types import" not in relative %}
{% set _ = models.append(relative) %}
{% endfor %}
if TYPE_CHECKING:
    import httpx
    from ...client import AuthenticatedClient, Client
    from ...types import Response
{% for model in models %}
    {{ model }}
{% endfor %}
""",
    ),
    Patch(
        "endpoint_module.py.jinja",
        "they are loaded when there is one",
        find="response: httpx.Response) -> {{return_type}}:\n",
        put="response: httpx.Response) -> {{return_type}}:\n{% for model in models %}\n    {{ model }}\n{% endfor %}\n",
    ),
    Patch(
        "endpoint_module.py.jinja",
        "and so is what holds them",
        find="Response[{{ return_string | as_unembedded_code }}]:\n    return Response(\n",
        put="Response[{{ return_string | as_unembedded_code }}]:\n"
        "    from ...types import Response\n\n    return Response(\n",
    ),
    # --- nothing secret in a repr
    Patch(
        "client.py.jinja",
        "headers hold the key",
        find='alias="headers")',
        put='alias="headers", repr=False)',
    ),
    Patch(
        "client.py.jinja",
        "cookies may hold a session",
        find='alias="cookies")',
        put='alias="cookies", repr=False)',
    ),
    Patch(
        "client.py.jinja",
        "the token is the key",
        find='type="str", default="", docstring="The token',
        put='type="str", default="field(repr=False)", docstring="The token',
    ),
    Patch(
        "model.py.jinja",
        "a webhook secret and a base64 upload do not belong in a repr",
        find="{%- if config.docstrings_on_attributes and property.description -%}\n"
        "{{ property.to_string() | as_unembedded_code }}\n",
        put='{%- set hidden = property.name in ["secret", "file_data", "api_key"] -%}\n'
        "{%- if hidden -%}\n"
        "{{ property.python_name }}: {{ property.get_type_string() | as_unembedded_code }} = "
        "_attrs_field({% if not property.required %}default=UNSET, {% endif %}repr=False)\n"
        "{{ docstring(property.description | safe_for_docstring) | wordwrap(112) }}\n"
        "{%- elif config.docstrings_on_attributes and property.description -%}\n"
        "{{ property.to_string() | as_unembedded_code }}\n",
    ),
    Patch(
        "model.py.jinja",
        "a field without a default may follow a hidden one",
        find="@_attrs_define\nclass",
        put="@_attrs_define(kw_only=True)\nclass",
    ),
    # --- an answer is never lost, whatever it is
    Patch(
        "types.py.jinja",
        "520 and 499 are no HTTPStatus",
        find="    status_code: HTTPStatus\n",
        put="    status_code: int\n",
    ),
    Patch("types.py.jinja", "not used any more", find="from http import HTTPStatus\n", put=""),
    Patch(
        "types.py.jinja",
        "a body that cannot be decoded is reported beside the answer, not instead of it",
        find="    parsed: T | None\n",
        put="    parsed: T | None\n    decode_error: Exception | None = None\n",
    ),
    Patch("endpoint_module.py.jinja", "not used any more", find="from http import HTTPStatus\n", put=""),
    Patch(
        "endpoint_module.py.jinja",
        "decoding never raises",
        find="    return Response(\n"
        "        status_code=HTTPStatus(response.status_code),\n"
        "        content=response.content,\n"
        "        headers=response.headers,\n"
        "        parsed=_parse_response(client=client, response=response),\n",
        put="    parsed = None\n"
        "    decode_error: Exception | None = None\n"
        "    try:\n"
        "        parsed = _parse_response(client=client, response=response)\n"
        "    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:\n"
        "        decode_error = error\n"
        "    return Response(\n"
        "        status_code=response.status_code,\n"
        "        content=response.content,\n"
        "        headers=response.headers,\n"
        "        parsed=parsed,\n"
        "        decode_error=decode_error,\n",
    ),
    Patch(
        "model.py.jinja",
        "a list is not quietly read as an empty object",
        find="        d = dict(src_dict)\n",
        put="        d = json_object(src_dict)\n",
    ),
    Patch(
        "model.py.jinja",
        "a list is not quietly read as an empty object",
        find="from ..types import UNSET, Unset\n",
        put="from ..types import UNSET, Unset, json_object\n",
    ),
    Patch(
        "types.py.jinja",
        "a list is not quietly read as an empty object",
        find='T = TypeVar("T")\n',
        put='''T = TypeVar("T")


def json_object(value: object) -> dict[str, Any]:
    """A copy of a JSON object. Raises TypeError for any other value; `dict` would read some lists too."""
    if not isinstance(value, Mapping):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return dict(cast("Mapping[str, Any]", value))
''',
    ),
    Patch(
        "types.py.jinja",
        "for json_object",
        find="from typing import BinaryIO, Generic, TypeVar, Literal, IO\n",
        put="from typing import IO, Any, BinaryIO, Generic, Literal, TypeVar, cast\n",
    ),
    Patch(
        "property_templates/union_property.py.jinja",
        "for a model or null, the model's own error is raised and not swallowed",
        find="    {% if inner_template.check_type_for_construct "
        "and (not loop.last or ns.contains_unmodified_properties) %}\n",
        put='    {% if PythonCode("None") in property.get_type_strings_in_union(json=True) '
        "and property.inner_properties | length == 2 and inner_template.check_type_for_construct %}\n"
        "    {% set ns.or_null = true %}\n"
        '    if {{ inner_template.check_type_for_construct(inner_property, "data") }}:\n'
        "    {% set of_models = inner_property.inner_property is defined "
        'and inner_property.inner_property.template == "model_property.py.jinja" %}\n'
        "    {% set of_anything = inner_property.inner_property is defined "
        'and inner_property.inner_property.template == "any_property.py.jinja" %}\n'
        """    {% set typed = 'cast("dict[str, Any]", data)' if inner_property.class_info else """
        """'cast("list[dict[str, Any]]", data)' if of_models else """
        """'cast("object", data)' if of_anything else "data" %}\n"""
        "        {{ inner_template.construct(inner_property, typed) | indent(8) }}\n"
        "        return {{ inner_property.python_name }}\n"
        "    {% elif inner_template.check_type_for_construct "
        "and (not loop.last or ns.contains_unmodified_properties) %}\n",
    ),
    Patch(
        "property_templates/union_property.py.jinja",
        "and any other value is an error too",
        find="    {% if ns.contains_unmodified_properties %}\n    return cast",
        put="    {% if ns.or_null %}\n"
        '    raise TypeError(f"{{ property.python_name }} is neither null nor as documented: {type(data).__name__}")\n'
        "    {% elif ns.contains_unmodified_properties %}\n    return cast",
    ),
    Patch(
        "property_templates/union_property.py.jinja",
        "for the two patches above",
        find="{% set ns = namespace(contains_unmodified_properties = false) %}",
        put="{% set ns = namespace(contains_unmodified_properties = false, or_null = false) %}",
    ),
    Patch(
        "property_templates/list_property.py.jinja",
        "an empty list has a type for both type checkers",
        find="{% if property.required %}\n{{ property.python_name }} = []\n_",
        put="{% if property.required %}\n{{ property.python_name }}: "
        "{{ property.get_type_string(no_optional=True) | as_unembedded_code }} = []\n_",
    ),
    Patch(
        "property_templates/list_property.py.jinja",
        "and so has the list that is sent",
        find="{% if property.required %}\n{{ _transform(",
        put="{% if property.required %}\n{% if declare_type %}{{ destination }}: {{ type_string }}\n{% endif %}\n"
        "{{ _transform(",
    ),
    Patch(
        "types.py.jinja",
        "there is one Unset, also after copy and pickle: another would be sent",
        find="class Unset:\n",
        put='''class Unset:
    """An absent field. There is one object only, also after copy and pickle."""

    _one: "Unset | None" = None

    def __new__(cls) -> "Unset":
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"

''',
    ),
    Patch(
        "client.py.jinja",
        "a call ends: httpx reads None as no limit at all",
        find="_timeout: httpx.Timeout | None = field(default=None,",
        put="_timeout: httpx.Timeout | None = field(default=httpx.Timeout(60.0),",
    ),
    # --- open words, and a public request builder
    Patch(
        "literal_enum.py.jinja",
        "an unknown word passes through, letter case is folded",
        find="from typing import Literal\n\n{{ enum.class_info.name }} =",
        put="{% set n = enum.class_info.name %}{% set s = enum.get_class_name_snake_case() %}\n"
        "from typing import Literal, cast\n\n{{ enum.class_info.name }} =",
    ),
    Patch(
        "literal_enum.py.jinja",
        "in one order on every run",
        find="{{ enum.get_class_name_snake_case() | upper }}_VALUES: set[{{ enum.class_info.name }}] = "
        '{ {% for v in enum.values|list|sort %}{{"%r"|format(v)}}, {% endfor %} }\n',
        put="{{ s | upper }}_VALUES: tuple[{{ n }}, ...] = "
        '({% for v in enum.values|sort(case_sensitive=true) %}{{"%r"|format(v)}}, {% endfor %})\n'
        "_FOLDED: dict[str, {{ n }}] = {str(v).casefold(): v for v in {{ s | upper }}_VALUES}\n",
    ),
    Patch(
        "literal_enum.py.jinja",
        "an unknown word passes through, letter case is folded",
        find="(value: {{ enum.get_instance_type_string() | as_unembedded_code }}) -> {{ enum.class_info.name}}:\n"
        "    if value in {{ enum.get_class_name_snake_case() | upper }}_VALUES:\n"
        "        return value\n"
        '    raise TypeError(f"Unexpected value {value!r}. Expected one of '
        '{{"{"}}{{ enum.get_class_name_snake_case() | upper }}_VALUES!r}")',
        put="(value: object) -> {{ n }}:\n"
        '    """A known word as it is listed here, whatever its letter case; anything else comes back unchanged."""\n'
        "    return _FOLDED.get(str(value).casefold(), cast({{ n }}, value))",
    ),
    Patch(
        "endpoint_module.py.jinja",
        "the pure half of every call is public: the wrapper sends its requests itself",
        find="_get_kwargs(",
        put="build_request(",
        times=3,
    ),
    Patch(
        "model.py.jinja",
        "URLs are not broken at hyphens",
        find="{%- if model.description %}{{ model.description | safe_for_docstring | wordwrap(116) }}",
        put="{%- if model.description %}"
        "{{ model.description | safe_for_docstring | wordwrap(110, false, none, false) }}",
    ),
)


def write_patched(folder: Path) -> None:
    """Write each patched template into a folder, under its own name.

    Raises:
        PatchError: A piece is not where its patch expects it.
    """
    packaged = files("openapi_python_client").joinpath("templates")
    texts: dict[str, str] = {}
    for patch in PATCHES:
        text = texts.get(patch.template) or packaged.joinpath(patch.template).read_text(encoding="utf-8")
        if (found := text.count(patch.find)) != patch.times:
            raise PatchError(
                f"{patch.template}: {patch.find!r} is there {found} times, not {patch.times} ({patch.why})"
            )
        texts[patch.template] = text.replace(patch.find, patch.put)
    for name, text in texts.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
