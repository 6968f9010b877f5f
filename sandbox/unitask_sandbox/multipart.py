"""Reading a form of files (RFC 7578): the standard library reads mail, and would not give every byte of a file back.

In a name a backslash escapes nothing: browsers write a quote in it as %22, and a backslash as it is.
"""

from __future__ import annotations

import re
from email.message import Message

MOST_FIELDS = 100
LONGEST_HEAD = 16 * 1024
_NAME = re.compile(rb'^content-disposition:[^\r\n]*?[;\s]name=(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE | re.MULTILINE)


def read_form(content_type: str, body: bytes) -> dict[str, bytes]:
    """The fields of a form by name; of several with one name, the last.

    Raises:
        ValueError: It is no form, or a broken one.
    """
    head = Message()
    head["content-type"] = content_type
    boundary = head.get_boundary()
    if head.get_content_type() != "multipart/form-data" or not boundary:
        raise ValueError("the body is no form: send multipart/form-data")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), MOST_FIELDS + 2)
    if len(parts) > MOST_FIELDS + 1:  # and the end
        raise ValueError(f"the form has more than {MOST_FIELDS} fields")
    if not parts or not parts[-1].startswith(b"--"):
        raise ValueError("the form has no end")
    return dict(_field(part) for part in parts[:-1])


def _field(part: bytes) -> tuple[str, bytes]:
    head, end, content = part.partition(b"\r\n\r\n")
    if len(head) > LONGEST_HEAD:
        raise ValueError("a field of the form has a head that is too long")
    name = _NAME.search(head)
    if not end or not name:
        raise ValueError("a field of the form has no name")
    return (name[1] or name[2] or b"").decode(errors="replace"), content
