"""A body is never larger than it may be, at no layer, and what cannot be unpacked says so in words."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from relay.producers.unpacking import UnpackingError, unpacked

ANSWER = b'{"is_all_success":true}'
LIMIT = 1_000_000


def _words(value: bytes | str) -> str:
    """For the names of the tests."""
    return value[:40] if isinstance(value, str) else f"{len(value)} bytes"


def packed(body: bytes, level: int = 9) -> bytes:
    """Without the time of day, which would be in the names of the tests."""
    return gzip.compress(body, level, mtime=0)


def raw_deflate(body: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(body) + packing.flush()


BOMB = packed(b" " * 20_000_000)
BOMB_IN_BOMB = packed(packed(b"\0" * 50_000_000, 9), 9)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (ANSWER, ""),
        (ANSWER, "identity"),
        (packed(ANSWER), "gzip"),
        (packed(ANSWER), " GZIP , identity"),
        (packed(ANSWER), "x-gzip"),
        (zlib.compress(ANSWER), "deflate"),
        (raw_deflate(ANSWER), "deflate"),
        (packed(packed(ANSWER)), "gzip, gzip"),
        (packed(zlib.compress(ANSWER)), "deflate,gzip"),
        (packed(ANSWER[:9]) + packed(ANSWER[9:]), "gzip"),
        (packed(ANSWER) + bytes(512), "gzip"),
        (ANSWER, "gzip"),  # a proxy unpacked it and left the header
        (ANSWER, "deflate"),
    ],
    ids=_words,
)
def test_what_can_be_unpacked(body: bytes, encoding: str) -> None:
    assert unpacked(body, encoding, max_bytes=LIMIT) == ANSWER


@pytest.mark.parametrize(
    ("body", "encoding", "says"),
    [
        (BOMB, "gzip", "longer than 1000000 bytes"),
        (BOMB_IN_BOMB, "gzip, gzip", "longer than 1000000 bytes"),
        (zlib.compress(b" " * 10_000_000), "deflate", "longer than 1000000 bytes"),
        (raw_deflate(b" " * 10_000_000), "deflate", "longer than 1000000 bytes"),
        (packed(b"a" * 600_000) * 2, "gzip", "longer than 1000000 bytes"),
        (ANSWER, "gzip, gzip, gzip", "packed 3 times"),
        (packed(b"") * 400_000, "gzip", "more than 16 pieces"),
        (ANSWER, ",".join(["gzip"] * 10_000), "packed 10000 times"),
        (b"\x0b\x0b\x80", "br", "packed as br"),
        (b"\x28\xb5\x2f\xfd", "zstd", "packed as zstd"),
        (ANSWER, 'x{"secret":1}', "packed as something else"),
        (packed(ANSWER)[:-9], "gzip", "ends in the middle"),
        (b"no gzip", "gzip", "it is no gzip"),
        (packed(ANSWER)[:-8] + b"12345678", "gzip", "it is no gzip"),  # the checksum does not fit
    ],
    ids=_words,
)
def test_what_cannot(body: bytes, encoding: str, says: str) -> None:
    with pytest.raises(UnpackingError, match=says):
        unpacked(body, encoding, max_bytes=LIMIT)


def test_a_bomb_in_a_bomb_takes_no_more_memory_than_an_answer_may() -> None:
    assert len(BOMB_IN_BOMB) < 10_000
    tracemalloc.start()
    try:
        with pytest.raises(UnpackingError):
            unpacked(BOMB_IN_BOMB, "gzip, gzip", max_bytes=LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()
