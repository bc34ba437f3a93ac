"""What an answer that is none of the platform's looks like, in a few words: who was it that answered?

A proxy, a firewall, a hotel's log-in page and an anti-bot page all answer in HTML, often with HTTP 200. Their title and
their kind tell a person more than "unreadable"; more than that is not repeated, for they may quote what was sent.
"""

from __future__ import annotations

import html
import re

from relay.tmc.fields import message_text, one_line

MAX_TITLE = 80
_LOOKED_AT = 64 * 1024  # a title stands near the beginning

_TITLE = re.compile(r"<title(?:\s[^<>]*)?>(.*?)</title", re.IGNORECASE | re.DOTALL)
_HTML = re.compile(r"<(?:!doctype\s+html|html|head|body|script|meta|title|center|h1|p|div)\b", re.IGNORECASE)
_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,60}", re.ASCII)


def described(body: bytes, content_type: str | None) -> str:
    """For example: an HTML page titled "Access denied" (text/html, 5120 bytes)."""
    text = body[:_LOOKED_AT].decode("utf-8", "replace").strip("\ufeff\0 \t\r\n")
    named = _TYPE.match((content_type or "").strip())
    about = f"{named[0].lower() if named else 'no content type'}, {len(body)} bytes"
    return f"{_kind(text)} ({about})"


def _kind(text: str) -> str:
    if not text:
        return "an empty body"
    if text.startswith(("{", "[")):
        return "JSON that is no answer of the platform"
    if _HTML.search(text[:1000]):
        found = _TITLE.search(text)
        title = message_text(html.unescape(found[1])) if found else None
        return f'an HTML page titled "{one_line(title)[:MAX_TITLE]}"' if title else "an HTML page without a title"
    if text.startswith("<"):
        return "XML that is no answer of the platform"
    if "\ufffd" in text[:200] or "\0" in text[:200]:
        return "bytes that are no text"
    return "a text that is no answer of the platform"
