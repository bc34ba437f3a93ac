"""Texts of others on their way to a screen, a log or a file: what steers a terminal is escaped, personal data masked.

Accounts, keys, reasons and what the platform says are written by strangers. Whatever prints takes its texts from here:

    escaped      of text: signs that a terminal obeys, that turn a line round or that nobody sees become ``\\u202e``
    as_it_looks  of a name: without what nobody sees in it; where that is another name, the two look alike
    json_text    a document: the same signs as escapes of JSON, so a program reads the exact value
    masked       phone numbers, e-mail addresses and identity cards, by the forms of the database's ``mask_text``

An escape is longer than what it stands for: so escape before you align columns. Chinese spaces are no danger, and stay;
any other blank looks like a space, and two names like one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

_NOT_PLAIN = re.compile(r"[^ -~]")
# Control and format characters, halves of surrogate pairs, private ones, separators of lines, and those unknown yet.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters, marks and symbols that nobody sees either, and blanks that look like the usual one.
_BLANKS = "\u00a0\u1680\u2000-\u200a\u202f\u205f"
_UNSEEN = re.compile(f"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0{_BLANKS}]")
# They choose a variant of the picture or the Chinese sign before them, and stay there; elsewhere nobody sees them.
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_WITH_VARIANTS = frozenset({"So", "Sm", "Po", "Lo"})
_KEYCAP = "\u20e3"

_ANY_BLANK = re.compile(f"[{_BLANKS}]")

_ESCAPES = tuple(
    (re.compile(rf"\\+u(?:{codes})"), sign)
    for codes, sign in (
        ("(?:003|[fF][fF]1|066|06[fF])([0-9])", r"\1"),
        ("0040|[fF][fF]20", "@"),
        ("(?:002|[fF][fF]0)[bB]", "+"),
        ("002[dD]|201[0-5]|2212|[fF][fF]0[dD]", "-"),
        ("0020|00[aA]0|3000|200[0-9aA]|202[fF]", " "),
        ("200[b-dB-D]|2060|[fF][eE][fF][fF]|00[aA][dD]", ""),
    )
)
_DIGITS = {first + digit: str(digit) for first in (0xFF10, 0x0660, 0x06F0) for digit in range(10)}
_NARROW: dict[int, str | None] = {
    **_DIGITS,
    **dict.fromkeys((0xFF0D, *range(0x2010, 0x2016), 0x2212, 0xFE63), "-"),
    **dict.fromkeys((0x00A0, 0x3000, 0x202F, 0x205F, *range(0x2000, 0x200B)), " "),
    **dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x00AD)),
    **dict(zip((0xFF0B, 0xFF20, 0xFF0E, 0xFF08, 0xFF09, 0xFF38, 0xFF58), "+@.()XX", strict=True)),
}
# Those signs count as part of a number only where they stand at a digit.
_WORTH = re.compile(
    r"[\uff10-\uff19\uff20\u0660-\u0669\u06f0-\u06f9]"
    r"|[0-9][\uff0b\uff0d\uff0e\uff08\uff09\uff38\uff58\u2010-\u2015\u2212\ufe63\u00a0\u00ad\u3000\u2000-\u200d\u202f"
    r"\u205f\u2060\ufeff]|[\uff0b\uff08][0-9]"
)
_GAP = "[ -]{0,2}"
_DATE = "(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_LETTER = r"\u00a1-\u1fff\u2070-\u2fff\u3040-\ufeff"
# In the order of mask_text (revision 0008): the identity card first, for it has a mobile number inside.
_FORMS = (
    (
        f"(?<![0-9])([1-9][0-9]{{2}})[0-9]{{3}}{_GAP}(?:18|19|20)[0-9]{{2}}{_DATE}{_GAP}[0-9]{{2}}([0-9][0-9Xx])(?![0-9])",
        r"\1*************\2",
    ),
    (
        "(?<![0-9])((?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12])[0-9])[0-9]{5}"
        f"{_DATE}[0-9]([0-9]{{2}})(?![0-9])",
        r"\1**********\2",
    ),
    (
        rf"(?<![0-9])((?:(?:\+|00)?86{_GAP})?\(?1[3-9][0-9]\)?)(?:{_GAP}[0-9]{{4}}{_GAP}|\.[0-9]{{4}}\.)"
        "([0-9]{4})(?![0-9])",
        r"\1****\2",
    ),
    (rf"(?<![0-9])(\(?0[1-9][0-9]{{1,2}}\)?{_GAP})[0-9]{{3,4}}{_GAP}([0-9]{{4}})(?![0-9])", r"\1****\2"),
    (
        rf"(?<![0-9])((?:\+|00)86{_GAP}\(?[1-9][0-9]{{1,2}}\)?{_GAP})[0-9]{{3,4}}{_GAP}([0-9]{{4}})(?![0-9])",
        r"\1****\2",
    ),
    (
        f"([A-Za-z0-9{_LETTER}])[A-Za-z0-9._+{_LETTER}-]*@([A-Za-z0-9{_LETTER}-]+(?:\\.[A-Za-z0-9{_LETTER}-]+)+)",
        r"\1***@\2",
    ),
)
_MASKS = tuple((re.compile(form), shown) for form, shown in _FORMS)


def escaped(text: str, *, keep: str = "") -> str:
    """The text with nothing in it that a terminal obeys, but for the characters ``keep``."""
    return _replaced(text, keep, lambda code: f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def width(text: str) -> int:
    """Columns on a terminal, where a Chinese character takes two."""
    return sum(
        0 if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )  # fmt: skip


def folded(text: str, columns: int, *, indent: int) -> str:
    """In lines of at most this many columns, broken at blanks where there are any; all but the first are indented."""
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width(longer) <= columns or not line.strip():
            line = longer
        else:
            lines.append(line)
            line = " " * indent + word
        while width(line) > columns:
            cut = len(line)
            while width(line[:cut]) > columns:
                cut -= 1
            lines.append(line[:cut])
            line = " " * indent + line[cut:]
    return "\n".join([*lines, line])


def json_text(value: Any, **options: Any) -> str:
    """JSON that is read as the exact value, and printed is nothing but what it shows. Options are of ``json.dumps``."""
    return _replaced(json.dumps(value, ensure_ascii=False, **options), "\n", _in_json)


def masked(text: str) -> str:
    """What ``mask_text`` of the database makes of it; masking twice changes nothing more."""
    plain = text
    if "\\u" in plain:
        for escape, sign in _ESCAPES:
            plain = escape.sub(sign, plain)
    if not plain.isascii() and _WORTH.search(plain):
        plain = plain.translate(_NARROW)
    found = plain
    for form, shown in _MASKS:
        found = form.sub(shown, found)
    return text if found == plain else found


def as_it_looks(name: str) -> str:
    """The name without what nobody sees, nor blanks at its ends; where that is another one, nobody tells them apart."""
    seen = (" " if _ANY_BLANK.match(character) else character for character in name if not _hidden(character))
    return "".join(seen).strip(" \u3000")


def _replaced(text: str, keep: str, escape: Any) -> str:
    def one(match: re.Match[str]) -> str:
        character = match[0]
        if _SELECTORS.match(character):
            steers = not _chooses_a_variant(text, match.start())
        else:
            steers = unicodedata.category(character) in _STEERING or _UNSEEN.match(character) is not None
        return escape(ord(character)) if steers and character not in keep else character

    harmless = text.isascii() or not (_UNSEEN.search(text) or _SELECTORS.search(text))
    return text if harmless and text.isprintable() else _NOT_PLAIN.sub(one, text)


def _chooses_a_variant(text: str, place: int) -> bool:
    before = text[place - 1 : place]
    if before in tuple("#*0123456789"):
        return text[place + 1 : place + 2] == _KEYCAP
    return not before.isascii() and unicodedata.category(before) in _WITH_VARIANTS


def _hidden(character: str) -> bool:
    if _ANY_BLANK.match(character):
        return False
    unseen = _UNSEEN.match(character) or _SELECTORS.match(character)
    return unseen is not None or unicodedata.category(character) in _STEERING


def _in_json(code: int) -> str:
    """JSON has escapes of four digits only: beyond those a character is two halves."""
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
