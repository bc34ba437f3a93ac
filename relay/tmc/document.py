"""From the bytes of a body to the document in it, mended where a fault lies in a text and cannot change what is proved.

A platform that puts a message's text into its answer does not always escape it. One bad character in one
``error_message`` must not turn the other forty-nine results into doubt. What is mended is never structure:

    JSON   a backslash before what JSON cannot escape (``\\'``, ``\\x41``) is a backslash
    XML    a bare ``&``, an entity of HTML, a character XML forbids; a ``<`` that begins no element of an answer
    both   a byte order mark, blanks and NULs around it; words after the end, unless they could be a second answer

What is ambiguous stays so: a name that comes twice with two values is a list of both, which proves nothing.
"""

from __future__ import annotations

import json
import re
from html.entities import html5

from relay.tmc.xml import XmlError, parse_xml

Fields = dict[str, object]

_AROUND = "\ufeff\ufffe\0 \t\r\n"
_ESCAPE = re.compile(r"\\(?:(u[0-9a-fA-F]{4}|[\"\\/bfnrt])|)")
_SECOND = re.compile(r"[{\[]|<\s*(?!!--)[a-z_]+_response", re.IGNORECASE)

_ELEMENTS = (
    *("is_all_success", "results", "tmc_produce_result", "error_code", "error_message", "is_success", "request_id"),
    *("code", "msg", "sub_code", "sub_msg", r"\w+_response"),
)
_BARE_LESS = re.compile(rf"<(?!/?(?:{'|'.join(_ELEMENTS)})(?:\s[^<>]*)?/?>|!--|!\[CDATA\[|\?xml\s)", re.ASCII)
_REFERENCE = re.compile(r"&(?:#(x[0-9a-fA-F]{1,6}|[0-9]{1,7});|(amp|lt|gt|quot|apos);|(\w+;))?", re.ASCII)
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def read_document(body: bytes) -> tuple[Fields, bool]:
    """The document and whether it had to be mended; empty where there is none. Never raises, whatever the bytes."""
    text = body.decode("utf-8", "replace").strip(_AROUND)
    read = _xml if text.startswith("<") else _json
    try:
        root, mended = read(text)
    except (ValueError, RecursionError):
        return {}, False
    return (root, mended) if isinstance(root, dict) else ({}, False)


def _json(text: str) -> tuple[object, bool]:
    try:
        # strict=False: the platform has been seen to leave line breaks raw inside JSON strings.
        return _DECODER.decode(text), False
    except ValueError:
        mended = _ESCAPE.sub(lambda found: found[0] if found[1] else r"\\", text)
        root, end = _DECODER.raw_decode(mended)
        if _SECOND.search(mended, end):
            raise
        return root, True


def _pairs(pairs: list[tuple[str, object]]) -> Fields:
    """Names that come twice say what they say only if it is the same; else the value is a list of all."""
    if len(pairs) == 1:  # as most results are: half the time
        ((name, value),) = pairs
        return {name: value}
    fields = dict(pairs)
    if len(fields) < len(pairs):
        for name in fields:
            values = [each for key, each in pairs if key == name]
            if any(each != values[0] for each in values):
                fields[name] = values
    return fields


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_pairs)


def _xml(text: str) -> tuple[object, bool]:
    try:
        return parse_xml(text), False
    except XmlError:
        if "<!doctype" in text[:200].lower():
            raise
        mended = _BARE_LESS.sub("&lt;", _FORBIDDEN.sub(" ", text))
        if "<![CDATA[" not in mended:
            mended = mended.replace("]]>", "]]&gt;")
        mended = _REFERENCE.sub(_reference, mended)
        return parse_xml(mended, after=lambda rest: not _SECOND.search(rest)), True


def _reference(found: re.Match[str]) -> str:
    number, known, named = found[1], found[2], found[3]
    if number:
        code = int(number[1:], 16) if number[0] == "x" else int(number)
        return " " if code > 0x10FFFF or _FORBIDDEN.match(chr(code)) else found[0]
    if known:
        return found[0]
    character = html5.get(named or "", "")
    return "".join(f"&#{ord(each)};" for each in character) or f"&amp;{found[0][1:]}"
