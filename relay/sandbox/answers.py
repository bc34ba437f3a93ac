"""What goes back to the caller: the answers as values, and how each looks on the wire.

The platform answers HTTP 200 whatever it thinks of the call: an error is a body with ``error_response`` at its very
front, since some clients look for it in the first 20 characters only. JSON is compact and writes ``/`` as ``\\/``; XML
carries a declaration and ends with a comment naming the host. JSON goes out as ``text/javascript``.
Without ``simplify``, an empty list shows as ``{}`` in JSON: the element list inside its wrapper is simply not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from xml.sax.saxutils import escape

RESPONSE = "tmc_messages_produce_response"
ELEMENT = "tmc_produce_result"
JSON_TYPE = "text/javascript;charset=UTF-8"
XML_TYPE = "text/xml;charset=UTF-8"
HTML_TYPE = "text/html;charset=UTF-8"
GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body>\r\n</html>"
)


@dataclass(frozen=True, slots=True)
class ProduceResult:
    """What the platform says of one message; ``error_code`` is None when it accepted it."""

    error_code: str | None = None
    error_message: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the platform took the message."""
        return self.error_code is None


@dataclass(frozen=True, slots=True)
class Produced:
    """The call was processed. ``results`` are in request order; None leaves the list out of the answer."""

    is_all_success: bool
    results: tuple[ProduceResult, ...] | None
    status: ClassVar[int] = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """The whole call is refused with the platform's numeric code."""

    code: int
    msg: str
    sub_code: str | None = None
    sub_msg: str | None = None
    status: ClassVar[int] = 200


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer of the platform at all: a proxy's HTML page with that status, or None for a cut connection."""

    status: int | None


CallAnswer = Produced | Refusal | Broken


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and the way it travels. ``half``: only the first half of the text is sent."""

    answer: CallAnswer
    request_id: str
    form: str = "json"
    simplify: bool = False
    delay_seconds: float = 0
    half: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """Status, type and bytes for the socket; ``status`` None means that the connection is cut instead."""

    status: int | None
    content_type: str
    body: bytes


def render(reply: Reply) -> Rendered:
    """The reply as it goes over the wire, before any compression."""
    answer = reply.answer
    if isinstance(answer, Broken):
        return Rendered(answer.status, HTML_TYPE, GATEWAY_PAGE)
    fields = {**_fields(answer), "request_id": reply.request_id}
    root = RESPONSE if isinstance(answer, Produced) else "error_response"
    if reply.form == "json":
        content_type, text = JSON_TYPE, _json(root, fields, reply.simplify)
    else:
        content_type, text = XML_TYPE, _xml(root, fields)
    body = text.encode("utf-8", "backslashreplace")
    return Rendered(answer.status, content_type, body[: len(body) // 2] if reply.half else body)


def _fields(answer: Produced | Refusal) -> dict[str, object]:
    """The answer's members in the order they are written; results stay a plain list here."""
    if isinstance(answer, Refusal):
        fields = {"code": answer.code, "msg": answer.msg, "sub_code": answer.sub_code, "sub_msg": answer.sub_msg}
        return {name: value for name, value in fields.items() if value is not None}
    if answer.results is None:
        return {"is_all_success": answer.is_all_success}
    return {"is_all_success": answer.is_all_success, "results": [_result(result) for result in answer.results]}


def _result(result: ProduceResult) -> dict[str, object]:
    if result.accepted:
        return {"is_success": True}
    return {"error_code": result.error_code, "error_message": result.error_message or "", "is_success": False}


def _json(root: str, fields: Mapping[str, object], simplify: bool) -> str:
    """Errors keep their wrapper under ``simplify``; a success loses it, and its list loses the element name."""
    if root == RESPONSE and simplify:
        document: Mapping[str, object] = fields
    elif isinstance(fields.get("results"), list):
        wrapped = {ELEMENT: fields["results"]} if fields["results"] else {}
        document = {root: {**fields, "results": wrapped}}
    else:
        document = {root: fields}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")


def _xml(root: str, fields: Mapping[str, object]) -> str:
    return f'<?xml version="1.0" encoding="utf-8" ?>{_tag(root, fields)}<!--sandbox.local-->'


def _tag(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        inner = "".join(_tag(child, content) for child, content in value.items())
    elif isinstance(value, list):
        inner = "".join(_tag(ELEMENT, item) for item in value)
    else:
        inner = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f"<{name}>{inner}</{name}>"
