"""What people and programs write into files and variables, made text or refused: one rule for every place.

    around a value     white space, line ends (also \\r\\n) and a byte order mark are no part of it
    in a file          UTF-8; UTF-16 and other encodings are refused, and so is a file with nothing in it
    in a secret        printable ASCII: what looks alike and is not (full-width letters, a zero-width space, a quotation
                       mark of a shell that was kept) would only be found out by the platform, as a wrong secret

Refusals say what kind of character is in the way and where, and never which: a value may be secret.
"""

from __future__ import annotations

import codecs
import stat
import unicodedata
from pathlib import Path

_MARKS = "\ufeff"
_QUOTES = "\"'`“”‘’"
# UTF-32 first: its mark begins with that of UTF-16.
_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


_MOST_BYTES = 16 * 1024 * 1024  # a device may have no end
_MOST_BYTES_OF_A_VALUE = 64 * 1024


class UnusableText(ValueError):  # noqa: N818 the name says what is the case
    """The end of a sentence that begins with a file, a variable or a column: "is empty"."""


def read_text(path: Path, *, again: bool = False, most_bytes: int = _MOST_BYTES) -> str:
    """What is in the file, without a byte order mark. Raises UnusableText, also where it cannot be read.

    What is read ``again`` must be a regular file: opening a pipe waits for a writer, and it is empty afterwards.
    """
    try:
        if again and not _is_kept(path.stat().st_mode):
            raise UnusableText("is no regular file, and it is read more than once: write it to one")
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise UnusableText(f"cannot be read: {error.strerror or type(error).__name__}") from None
    if len(data) > most_bytes:
        raise UnusableText(f"has more than {most_bytes:,} bytes: is it the right file?")
    return text_of(data)


def text_of(data: bytes) -> str:
    """The same of bytes that were read already."""
    for mark, encoding in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            raise UnusableText(f"is {encoding} text: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnusableText("is not UTF-8 text") from None
    if "\0" in text:
        raise UnusableText("contains a NUL character, as UTF-16 does: save it as UTF-8")
    return text


def read_value(path: Path, *, again: bool = False) -> str:
    """The one value that is in the file. Raises UnusableText, also where there is none."""
    value = trimmed(read_text(path, again=again, most_bytes=_MOST_BYTES_OF_A_VALUE))
    if not value:
        raise UnusableText("is empty")
    return value


def trimmed(text: str) -> str:
    """Without what is around the value."""
    while text != (text := text.strip().strip(_MARKS)):
        pass
    return text


def secret(text: str) -> str:
    """A key, secret or session, trimmed; may be empty. Raises UnusableText for what cannot be meant."""
    value = trimmed(text)
    if len(value) > 1 and value[0] in _QUOTES and value[-1] in _QUOTES:
        raise UnusableText("is in quotation marks: write it without them")
    for position, character in enumerate(value, 1):
        if not (character.isascii() and character.isprintable()):
            raise UnusableText(f"contains {_kind(character)} (character {position}): only printable ASCII is possible")
    return value


def _is_kept(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)  # reading a directory says what it is


def _kind(character: str) -> str:
    if character in "\r\n":
        return "a line end"
    match unicodedata.category(character):
        case "Cc":
            return "a control character"
        case "Cf" | "Zs" | "Zl" | "Zp":
            return f"an invisible character, {unicodedata.name(character, 'unnamed')}"
        case _:
            return "a character that is not ASCII"
