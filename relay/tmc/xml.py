"""A small XML document as dicts, lists and texts: the same shapes that the platform's JSON has.

An element without children is its text; with children a dict; a name that comes more than once, a list. Attributes
and comments (the platform signs each document with one that names its host) say nothing and are left out. What an
honest answer never holds is refused: a DOCTYPE and with it any entity of its own, deep nesting, an endless document.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.parsers import expat

MAX_DEPTH = 32
MAX_CHARACTERS = 8 * 1024 * 1024

Tree = str | dict[str, "Tree | list[Tree]"]


class XmlError(ValueError):
    """The text is no XML document that we are willing to read."""


def parse_xml(text: str, after: Callable[[str], bool] = lambda _rest: False) -> dict[str, Tree | list[Tree]]:
    """``{root name: content}``. Raises XmlError, and nothing else, whatever the text is.

    ``after`` decides about what stands behind the end of the document and is none: whether it can be left out.
    """
    if len(text) > MAX_CHARACTERS:
        raise XmlError(f"longer than {MAX_CHARACTERS} characters")
    builder = _Builder()
    try:
        builder.parser.Parse(text, True)
    except expat.ExpatError as error:
        if builder.end is None or not after(text.encode()[builder.end :].decode("utf-8", "replace")):
            raise XmlError(expat.errors.messages[error.code]) from error
    return builder.document


class _Builder:
    """Expat calls ``start``, ``text`` and ``end``; the open elements lie on a stack, their names beside them."""

    def __init__(self) -> None:
        self.document: dict[str, Tree | list[Tree]] = {}
        self.end: int | None = None  # the byte at which the end tag of the document begins
        self._children = [self.document]
        self._texts: list[list[str]] = [[]]
        self.parser = expat.ParserCreate(encoding="utf-8")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.CharacterDataHandler = self._text
        self.parser.EndElementHandler = self._end

    def _doctype(self, *_declaration: object) -> None:
        raise XmlError("has a DOCTYPE")

    def _start(self, _name: str, _attributes: dict[str, str]) -> None:
        if len(self._children) > MAX_DEPTH:
            raise XmlError(f"nested deeper than {MAX_DEPTH} elements")
        self._children.append({})
        self._texts.append([])

    def _text(self, text: str) -> None:
        self._texts[-1].append(text)

    def _end(self, name: str) -> None:
        children = self._children.pop()
        content: Tree = children or "".join(self._texts[-1]).strip()
        self._texts.pop()
        siblings = self._children[-1]
        known = siblings.get(name)
        if known is None:
            siblings[name] = content
        elif isinstance(known, list):
            known.append(content)
        else:
            siblings[name] = [known, content]
        if len(self._children) == 1:
            self.end = self.parser.CurrentByteIndex
