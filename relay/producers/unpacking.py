"""The body of an answer, unpacked by its ``Content-Encoding``, and never larger than it may be, at no layer.

A few kilobytes that were packed twice can be gigabytes. So what comes out of each layer is asked for in portions and
counted; the layers themselves are two at most. What was sent by then stays sent: a body that cannot be unpacked proves
nothing. We ask for gzip alone; deflate is what some proxies make of that.

A proxy that unpacks a body and leaves the header as it was is forgiven: what begins like an answer is read as one.
"""

from __future__ import annotations

import zlib

MAX_LAYERS = 2
MAX_MEMBERS = 16  # of one gzip; each begins with a copy of what is left

_GZIP, _ZLIB, _RAW = 31, 15, -15  # the kinds of zlib's wbits
_KINDS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _RAW)}
_PLAIN = (b"{", b"[", b"<", b"\xef\xbb\xbf")


class UnpackingError(ValueError):
    """Its text says why, in words fit for a log."""


def unpacked(body: bytes, content_encoding: str, *, max_bytes: int) -> bytes:
    """Raises UnpackingError for more than ``max_bytes`` at any layer, too many layers, or anything unreadable."""
    layers = [name for name in (part.strip().lower() for part in content_encoding.split(",")) if name]
    layers = [name for name in layers if name != "identity"]
    if len(layers) > MAX_LAYERS:
        raise UnpackingError(f"the answer is packed {len(layers)} times")
    for name in reversed(layers):
        if name not in _KINDS:
            raise UnpackingError(f"the answer is packed as {_word(name)}, which nobody asked for")
        body = _layer(body, name, max_bytes) if body else body
    return body


def _layer(body: bytes, name: str, max_bytes: int) -> bytes:
    for kind in _KINDS[name]:
        try:
            return _inflated(body, kind, max_bytes)
        except zlib.error:
            continue
    if body.lstrip().startswith(_PLAIN):
        return body
    raise UnpackingError(f"the answer cannot be unpacked: it is no {name}")


def _inflated(body: bytes, kind: int, max_bytes: int) -> bytes:
    """All members of it, as gzip may have several, with nothing but NULs behind them."""
    found = bytearray()
    for _ in range(MAX_MEMBERS):
        inflating = zlib.decompressobj(kind)
        found += inflating.decompress(body, max_bytes + 1 - len(found))
        if len(found) > max_bytes:
            raise UnpackingError(f"the answer is longer than {max_bytes} bytes")
        if not inflating.eof:
            raise UnpackingError("the answer ends in the middle of what is packed")
        body = inflating.unused_data.lstrip(b"\0") if kind == _GZIP else b""
        if not body:
            return bytes(found)
    raise UnpackingError(f"the answer is packed in more than {MAX_MEMBERS} pieces")


def _word(name: str) -> str:
    return name[:20] if name.isascii() and name.isalnum() else "something else"
