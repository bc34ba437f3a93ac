"""What strangers wrote, as it may be shown; and that every verb prints through the place that sees to it."""

from __future__ import annotations

import ast
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.cli.printing import shown
from relay.showing import as_it_looks, escaped, json_text, masked

PACKAGE = Path(__file__).parents[2] / "relay"
HOSTILE = "a\u202eb\u009b31mc\x1b[2J\u200b\u2066\ud800\U000e0041\x7f\u2028\r\0d"
PLAIN = "退款\u3000né e\u0301 🎉❤\ufe0f#\ufe0f\u20e3葛\U000e0100 'quoted' \\u202e"
# What writes without asking relay.showing, and why it may.
WRITERS = {
    "cli/printing.py": "where the asking is done",
    "cli/__init__.py": "nothing is installed yet, and the text is ours",
    "dashboard/guards.py": "sentences of ours",
    "demo/telling.py": "where the demo asks",
    "integrations/django/management/commands/flush.py": "a sentence of ours with the name of Django's database",
    "integrations/django/management/commands/relay.py": "what the command wrote, which has asked",
    "producers/stdout.py": "JSON in ASCII",
    "sandbox/answers.py": "the answers of the platform, byte for byte as it writes them",
}
LOOKED_AT = ("cli", "demo", "observers", "sandbox")  # the JSON of these rooms comes before somebody's eyes


def steering(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn")]


def test_text_for_a_terminal_tells_what_it_does_not_write() -> None:
    shown = escaped(HOSTILE)
    assert not steering(shown)
    assert shown.startswith(r"a\u202eb\u009b31mc\u001b[2J\u200b\u2066\ud800\U000e0041\u007f\u2028\u000d\u0000d")
    assert escaped(PLAIN) == PLAIN, "Chinese spaces, accents and pictures steer nobody"
    assert escaped("two\nlines\t", keep="\n") == "two\nlines\\u0009"


@pytest.mark.parametrize(
    "name", ["shop\u00a0", "sh\u2009op", "shop\ufe0f", "7\ufe0f", "\ufe0eshop", "shop\u200b", "sh\u200dop"]
)
def test_two_names_that_differ_by_what_nobody_sees_are_shown_apart(name: str) -> None:
    (hidden,) = (one for one in name if not one.isascii())
    assert escaped(name) == name.replace(hidden, f"\\u{ord(hidden):04x}")
    assert json.loads(json_text(name)) == name
    assert hidden not in json_text(name)
    assert as_it_looks(name) == name.replace(hidden, " " if hidden.isspace() else "").strip()


def test_a_name_that_looks_as_it_is_stays_as_it_is() -> None:
    for name in ("shop", "my shop", "旗舰店\u3000一号", "né", "🎉"):
        assert as_it_looks(name) == escaped(name) == name
    assert as_it_looks(" shop\u3000") == "shop"
    assert [shown(name) for name in (" shop", "my shop\u3000", " ")] == [r"\u0020shop", r"my shop\u3000", r"\u0020"]


def test_json_is_the_exact_value_and_shows_nothing_else() -> None:
    document = {"said": HOSTILE, HOSTILE: [PLAIN, 1, None]}
    for options in ({}, {"indent": 2}):
        written = json_text(document, **options)
        assert steering(written.replace("\n", "")) == []
        assert json.loads(written) == document
    assert "退款" in json_text([PLAIN]), "people read it too"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("call 13812345678 or +86 138-1234-5678", "call 138****5678 or +86 138****5678"),
        ("0086 13812345678, (0755)1234567, 0086 755 1234567", "0086 138****5678, (0755)****4567, 0086 755 ****4567"),
        ("card 110101199003071234 of a@example.com", "card 110*************34 of a***@example.com"),
        ("１３８１２３４５６７８", "138****5678"),
        (r"\u0031\\u0033812345678", "138****5678"),
        ("order 4213000001 ＡＢ１２ \\u0031", "order 4213000001 ＡＢ１２ \\u0031"),
    ],
)
def test_personal_data_is_known_by_its_form(said: str, shown: str) -> None:
    assert masked(said) == shown
    assert masked(shown) == shown


def writes(path: Path) -> Iterator[int]:
    """The lines that write by themselves, or make JSON for somebody to look at."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id="print")) | ast.Call(func=ast.Attribute(attr="echo" | "secho")):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="stdout" | "stderr"), attr="write")):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id="traceback"), attr=name)) if name.startswith("print"):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id="json"), attr="dumps")) if path.parent.name in LOOKED_AT:
                yield node.lineno
            case ast.Name(id="JSONResponse" | "PlainTextResponse"):
                yield node.lineno


def test_every_door_asks() -> None:
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if list(writes(path))}
    assert found == set(WRITERS), "print through relay.cli.printing, or say in WRITERS why not"
