"""What a platform said, as PostgreSQL can keep it: bounded, and in characters that the database has.

An answer that could not be stored could never be settled, and its messages would be sent again and again. So a text
that is refused is written more plainly, and in the end left out: the outcome of the call counts more than its words.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import replace

from relay.outcomes import Settlement
from relay.reasons import UNSAID

_MAX_TEXT = 1000
_MAX_CODE = 200  # codes and request ids are in indexes, where 2,700 bytes are the end
_A_PERSONS = "relay.discarded"
_NOT_OURS = "answer: relay.discarded"
_LARGEST = {2: 2**15 - 1, 4: 2**31 - 1}
_LONGEST_DELAY_SECONDS = 86_400.0 * 3650  # PostgreSQL must be able to add it to its time
_HELD = float("inf")


def storable(text: str | None, most: int = _MAX_TEXT) -> str | None:
    """No NUL, no half of a surrogate pair, not without end."""
    if text is None:
        return None
    return text[:most].encode("utf-8", "replace").decode().replace("\0", " ")


def code(text: str | None) -> str | None:
    """The same for what is indexed. What a person writes when giving a message up is no platform's word."""
    return _NOT_OURS if text == _A_PERSONS else storable(text, _MAX_CODE)


def number(value: int | None, size_bytes: int) -> int | None:
    """A number as wide as its column; a larger one is as good as none."""
    return value if value is None or abs(value) <= _LARGEST[size_bytes] else None


def delay(seconds: float | None) -> float | None:
    """Seconds to wait; infinity and None have meanings of their own."""
    return seconds if seconds is None or seconds == _HELD else max(0.0, min(_LONGEST_DELAY_SECONDS, seconds))


def plainer(settlement: Settlement, encoding: str) -> Iterator[Settlement]:
    """The settlement as it is, in the characters of the database's ``encoding``, in ASCII, and without any text."""
    yield settlement
    yield _said(settlement, lambda text: _written(text, encoding))
    yield _said(settlement, lambda text: _written(text, "ascii"))
    silent = _said(settlement, lambda text: text if text.startswith("relay.") and text.isascii() else None)
    yield replace(silent, http_status=None, request_bytes=None, pause=None)


def _said(settlement: Settlement, told: Callable[[str], str | None]) -> Settlement:
    def plain(text: str | None) -> str | None:
        return None if text is None else told(text)

    order = settlement.pause
    return replace(
        settlement,
        request_id=plain(settlement.request_id),
        error_code=plain(settlement.error_code),
        sub_code=plain(settlement.sub_code),
        error_message=plain(settlement.error_message),
        verdicts=tuple(
            replace(
                verdict,
                code=plain(verdict.code),
                message=plain(verdict.message),
                row_code=plain(verdict.row_code),
                row_message=plain(verdict.row_message),
            )
            for verdict in settlement.verdicts
        ),
        pause=order
        and replace(order, reason=plain(order.reason) or UNSAID.written(), error_code=plain(order.error_code)),
    )


def _written(text: str, encoding: str) -> str:
    r"""What the encoding does not have is written as ``\U0001f600``, so that nothing of it is lost."""
    try:
        name = codecs.lookup(encoding).name  # EUC_CN and others have the same names in Python
    except LookupError:
        name = "ascii"
    return text.encode(name, "backslashreplace").decode(name)
