"""Texts of others on their way to a screen, a log or a file: what steers a terminal is escaped, personal data masked.

Accounts, keys, reasons and what the platform says are written by strangers. Whatever prints takes its texts from here:

    escaped      of text: signs that a terminal obeys, that turn a line round or that nobody sees become ``\\u202e``
    json_text    a document: the same signs as escapes of JSON, so a program reads the exact value
    masked       phone numbers, e-mail addresses and identity cards, by the forms of the database's ``mask_text``

An escape is longer than what it stands for: whoever aligns columns escapes first. Chinese spaces and any other blank
are no danger, and stay.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

_NOT_PLAIN = re.compile(r"[^ -~]")
# Control and format characters, halves of surrogate pairs, private ones, separators of lines, and those unknown yet.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_DIGIT = re.compile(r"\\+u(?:003|[fF][fF]1)([0-9])")
_SIGNS = ((re.compile(r"\\+u0040"), "@"), (re.compile(r"\\+u002[bB]"), "+"), (re.compile(r"\\+u002[dD]"), "-"))
_NARROW = {0xFF10 + digit: str(digit) for digit in range(10)} | {0xFF0B: "+", 0xFF0D: "-", 0xFF20: "@"}
# In the order of mask_text (revision 0008): the identity card first, for it has a mobile number inside.
_FORMS = (
    (
        r"(?<![0-9])([1-9][0-9]{2})[0-9]{3}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{2}"
        r"([0-9][0-9Xx])(?![0-9])",
        r"\1*************\2",
    ),
    (r"(?<![0-9])((?:(?:\+|00)?86[ -]?)?1[3-9][0-9])[ -]?[0-9]{4}[ -]?([0-9]{4})(?![0-9])", r"\1****\2"),
    (r"(?<![0-9])(\(?0[1-9][0-9]{1,2}\)?[ -]?)[0-9]{3,4}[ -]?([0-9]{4})(?![0-9])", r"\1****\2"),
    (r"(?<![0-9])((?:\+|00)86[ -]?[1-9][0-9]{1,2}[ -]?)[0-9]{3,4}[ -]?([0-9]{4})(?![0-9])", r"\1****\2"),
    (r"([A-Za-z0-9])[A-Za-z0-9._+-]*@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)", r"\1***@\2"),
)
_MASKS = tuple((re.compile(form), shown) for form, shown in _FORMS)


def escaped(text: str, *, keep: str = "") -> str:
    """The text with nothing in it that a terminal obeys, but for the characters ``keep``."""
    return _replaced(text, keep, lambda code: f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def json_text(value: Any, **options: Any) -> str:
    """JSON that is read as the exact value, and printed is nothing but what it shows. Options are of ``json.dumps``."""
    return _replaced(json.dumps(value, ensure_ascii=False, **options), "\n", _in_json)


def masked(text: str) -> str:
    """What ``mask_text`` of the database makes of it; masking twice changes nothing more."""
    plain = text
    if "\\u" in plain:
        plain = _DIGIT.sub(r"\1", plain)
        for escape, sign in _SIGNS:
            plain = escape.sub(sign, plain)
    plain = plain.translate(_NARROW)
    found = plain
    for form, shown in _MASKS:
        found = form.sub(shown, found)
    return text if found == plain else found


def _replaced(text: str, keep: str, escape: Any) -> str:
    def one(match: re.Match[str]) -> str:
        character = match[0]
        harmless = character in keep or unicodedata.category(character) not in _STEERING
        return character if harmless else escape(ord(character))

    return text if text.isprintable() else _NOT_PLAIN.sub(one, text)


def _in_json(code: int) -> str:
    """JSON has escapes of four digits only: beyond those a character is two halves."""
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
