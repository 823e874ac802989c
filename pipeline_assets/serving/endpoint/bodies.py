"""A request's body to fields: JSON, or multipart/form-data of RFC 7578. Pure; bodies are bounded and whole.

Strict: what browsers, curl and HTTP libraries send is read, and everything else is refused, never guessed.
"""

import re
from email.message import Message
from typing import Any

from pipeline_assets.errors import AskRefused
from pipeline_assets.runtime import strict_json
from pipeline_assets.serving.endpoint.asks import refused

MAX_PARTS = 16
MAX_PART_HEADERS = 4_096
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


def fields_of(content_type: str, body: bytes) -> dict[str, Any]:
    """The fields of a body; the photo of a form is bytes, all else text. Raises AskRefused."""
    header = Message()
    header["content-type"] = content_type
    kind = header.get_content_type() if "/" in content_type else ""
    if kind == "application/json":
        return _of_json(body)
    if kind == "multipart/form-data":
        return _of_form(str(header.get_param("boundary", "")), body)
    raise AskRefused(415, "wrong_content_type", "send application/json or multipart/form-data")


def _of_json(body: bytes) -> dict[str, Any]:
    try:
        fields = strict_json.loads(body, max_depth=2)
    except strict_json.BadJson as error:
        raise refused("bad_json", f"the body is no JSON: {error}", 400) from None
    if not isinstance(fields, dict):
        raise refused("bad_json", "the body is no JSON object", 400)
    return fields


def _of_form(boundary: str, body: bytes) -> dict[str, Any]:
    if not _BOUNDARY.fullmatch(boundary):
        raise refused("bad_form", "multipart/form-data has no valid boundary", 400)
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), MAX_PARTS + 1)
    if len(pieces) > MAX_PARTS + 1 or len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise refused("bad_form", f"the form does not end with its boundary, or has more than {MAX_PARTS} parts", 400)
    fields: dict[str, Any] = {}
    for piece in pieces[1:-1]:
        name, value = _part(piece)
        if name in fields:
            raise refused("bad_form", f"the field {name[:40]!r} repeats", 400)
        fields[name] = value
    return fields


def _part(piece: bytes) -> tuple[str, Any]:
    head, separator, value = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not separator or len(head) > MAX_PART_HEADERS:
        raise refused("bad_form", "a part of the form has no end of its headers", 400)
    header = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        key, _, text = line.partition(":")
        if key.strip().lower() == "content-disposition":
            header["content-disposition"] = text.strip()
    name = header.get_param("name", None, "content-disposition")
    if header.get_content_disposition() != "form-data" or not isinstance(name, str):
        raise refused("bad_form", "a part of the form has no name", 400)
    if name == "photo":
        return name, value
    try:
        return name, value.decode()
    except UnicodeDecodeError:
        raise refused("bad_form", f"the field {name[:40]!r} is no UTF-8", 400) from None
