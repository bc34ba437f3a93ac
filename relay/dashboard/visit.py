"""A visit to one page: what was asked for, by whom, and a connection over which the read models answer.

A page is a function of a ``PageVisit``: it asks reports, and gives a ``Page``. It knows neither SQL nor HTML.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote, urlencode

from starlette.datastructures import ImmutableMultiDict

from relay.dashboard.recent import Recent
from relay.dashboard.refreshing import SELDOM, Answers
from relay.dashboard.viewer import LANGUAGES, Viewer, known_zone
from relay.reports import NEWEST, Cursor, Position
from relay.sql import quoted

Acting = Callable[[], AbstractContextManager[Any]]  # a transaction in which a person acts, when it is entered
P = ParamSpec("P")
T = TypeVar("T")

LARGEST_ID = 2**63 - 1
PREFERENCES = ("lang", "zone")  # of a link to any page
_NOT_OF_HERE = ("next", *PREFERENCES)
MOST_CHARACTERS = 1_000  # of a value asked for: keys have 512 bytes, and other texts no more
_YEARS = range(2, 9_999)  # in any zone, and some days around it, Python has these times
_WRITTEN_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?[+-]\d\d:\d\d(:\d\d)?", re.ASCII)


class NotFound(Exception):  # noqa: N818 the name says what is the case
    """There is no such thing: ``key`` of the sentence that says so, with its values."""

    def __init__(self, key: str, /, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


class NotUnderstood(Exception):  # noqa: N818 the name says what is the case
    """What was asked for cannot be: ``key`` of the sentence that says so, with its values, ``name`` among them."""

    def __init__(
        self, name: str, key: str = "trouble.not_understood", /, *, status: int = 400, **values: object
    ) -> None:
        super().__init__(name)
        self.key = key
        self.values = {"name": name, **values}
        self.status = status


class NotAllowed(Exception):  # noqa: N818 the name says what is the case
    """This person, or the dashboard's login, may not: ``key`` of the sentence. ``command``: what would help."""

    def __init__(self, key: str, /, *, command: str = "", **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values
        self.command = command


@dataclass(frozen=True, slots=True)
class Page:
    """What a template is given. ``commands`` and ``sql``: how to ask the same elsewhere.

    ``document``: the read models by name, for programs; None: it tells of trouble. ``remember``: the name that somebody
    acted under who need not log in. ``every``: it refreshes by itself, not before these seconds; None: what it shows
    stays. ``at``: the moment it speaks of, where that is not the one of its snapshot. ``at_most``: seconds after which
    trouble asks again, when it has lasted.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[str] = ()
    sql: str = ""
    document: Mapping[str, Any] | None = None
    status: int = 200
    remember: str = ""
    every: float | None = None
    at_most: float | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What was looked for is at another path of the dashboard."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PageVisit:
    """``asked``: the query of the request; ``part``: what stands in its path for an id or a code.

    ``connected`` gives the connection of this visit, opened when the first report is asked. ``actor``: how the ledger
    is to call a person who need not say a name. ``answers``: what this visit was told, or what another one left;
    ``refreshes``: a page that is open asks again by itself. ``acts``: this person may act somewhere, or may once
    it is known who it is.
    """

    path: str
    asked: ImmutableMultiDict[str, str]
    part: str
    viewer: Viewer
    schema: str
    root: str
    recent: Recent
    explainers: Sequence[Any]
    connected: Callable[[], Any]
    can_log_out: bool = False
    trace_url: str | None = None
    actor: str = ""
    answers: Answers = field(default_factory=Answers)
    refreshes: bool = False
    posted: bool = False
    acts: bool = False

    def here(self) -> str:
        """This page as it was asked for, inside the dashboard, in whatever language and zone.

        What came of a form is at no address: from there it is page one.
        """
        if self.posted:
            return "/"
        given = urlencode([(name, value) for name, value in self.asked.multi_items() if name not in _NOT_OF_HERE])
        return quote(self.path) + (f"?{given}" if given else "")

    def require_known(self, names: Sequence[str], several: Sequence[str] = ()) -> None:
        """Raises NotUnderstood where something was asked under a name that this page does not know, or twice.

        ``several``: names that may be given more than once.
        """
        require_preferences(self.asked)
        for name in self.asked:
            if name not in names and name not in PREFERENCES:
                near = get_close_matches(name, names, n=1, cutoff=0.6)
                key = "trouble.unknown_name_near" if near else "trouble.unknown_name"
                raise NotUnderstood(name[:80], key, near="".join(near), names=", ".join(names) or "-")
            if name not in several and len(self.asked.getlist(name)) > 1:
                raise NotUnderstood(name, "trouble.asked_twice")

    def require_alone(self, name: str, *also: str) -> None:
        """Raises NotUnderstood where more was asked than this name and ``also``: it would have no effect."""
        apart = (name, *also, *PREFERENCES)
        if others := [one for one, value in self.asked.items() if value and one not in apart]:
            raise NotUnderstood(name, "trouble.not_with", others=", ".join(others))

    def ask(self, report: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """The answer of a read model, over the connection of this visit. Others see it too: values, nothing lazy."""
        question = (report, repr(arguments), repr(options))
        return self.answers.get(question, lambda: report(self.connected(), *arguments, **options))

    def ask_once(self, name: str, seconds: float, report: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """The same, or what another visit was answered no longer than this ago."""

        def read() -> T:
            return self.recent.get(name, seconds, lambda: report(self.connected(), *arguments, **options))

        return self.answers.get(name, read)

    def ask_seldom(self, name: str, seconds: float, report: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """The same, of what may be older while a page refreshes itself, if it costs much.

        It bears its own cost so, and how often the page refreshes does not depend on it.
        """

        def read() -> T:
            share = SELDOM if self.refreshes else 0.0
            return self.recent.get(name, seconds, lambda: report(self.connected(), *arguments, **options), share=share)

        return self.answers.get(name, read, counts=False)

    def text(self, name: str) -> str | None:
        """What was asked for under this name; None: nothing. NotUnderstood where no column can hold it."""
        value = self.asked.get(name, "")
        if len(value) > MOST_CHARACTERS or not can_be_stored(value):
            raise NotUnderstood(name)
        return value or None

    def choice(self, name: str, known: Sequence[str]) -> str | None:
        """One of these, or None."""
        value = self.text(name)
        if value is not None and value not in known:
            raise NotUnderstood(name)
        return value

    def moment(self, name: str) -> datetime | None:
        """A time in the viewer's zone, unless it says another."""
        value = self.text(name)
        try:
            found = self.viewer.moment(value) if value else None
        except (ValueError, OverflowError):
            raise NotUnderstood(name) from None
        if found is not None and found.year not in _YEARS:
            raise NotUnderstood(name)
        return found

    def number(self) -> int:
        """The id in the path. NotFound where that is none."""
        if (found := id_of(self.part)) is None:
            raise NotFound("not_found.id", id=self.part[:40])
        return found

    @property
    def turned(self) -> bool:
        """Whether this is not the first stretch of a list."""
        return bool(self.asked.get("older") or self.asked.get("newer"))

    def cursor(self, *kinds: type) -> Cursor:
        """Where the stretch begins, of values of these kinds: ``older=`` or ``newer=`` of the link.

        A ``datetime`` stands there as ISO 8601 writes it, with its offset, and is given as that text, in UTC.
        """
        if self.text("older") and self.text("newer"):
            raise NotUnderstood("older", "trouble.not_with", others="newer")
        for name in ("older", "newer"):
            if (written := self.text(name)) is not None:
                return Cursor(_position(name, written, kinds), newer=name == "newer")
        return NEWEST

    def link(self, path: str, query: Mapping[str, object] | None = None, /, **more: object) -> str:
        """The address of a page wherever the dashboard is mounted; what is None is left out, a list is repeated."""
        given = {name: value for name, value in {**(query or {}), **more}.items() if value is not None}
        return self.root + quote(path) + (f"?{urlencode(given, doseq=True)}" if given else "")

    def sql(self, text: str, **values: object) -> str:
        """SQL for people to copy: the schema is filled in for ``{schema}``, values are written as literals.

        In one pass: a value may look like the place of the next one.
        """
        filled = {f"<{name}>": literal(value) for name, value in values.items()} | {"{schema}": quoted(self.schema)}
        return re.sub("|".join(map(re.escape, filled)), lambda place: filled[place[0]], text).strip()


def require_preferences(asked: ImmutableMultiDict[str, str]) -> None:
    """Raises NotUnderstood for a language or a zone that is not known here, or two of them; none is no wish."""
    for name in PREFERENCES:
        if len(asked.getlist(name)) > 1:
            raise NotUnderstood(name, "trouble.asked_twice")
        said = asked.get(name, "")
        known = known_zone(said) is not None if name == "zone" else said in LANGUAGES
        if said and not known:
            raise NotUnderstood(name, f"trouble.no_{name}", given=said[:80], known=", ".join(LANGUAGES))


def id_of(written: str) -> int | None:
    """An id as people write it; None: that is none."""
    digits = written.isascii() and written.isdigit() and len(written) < 20
    return int(written) if digits and 0 < int(written) <= LARGEST_ID else None


def position(written: Position | None) -> str | None:
    """A position as it stands in a link."""
    return None if written is None else json.dumps(written, ensure_ascii=False, separators=(",", ":"))


def _position(name: str, written: str, kinds: tuple[type, ...]) -> Position:
    try:
        values = json.loads(written)
    except (ValueError, RecursionError):
        raise NotUnderstood(name) from None
    if not isinstance(values, list) or len(values) != len(kinds):
        raise NotUnderstood(name)
    try:
        return tuple(_part(value, kind) for value, kind in zip(values, kinds, strict=True))
    except (ValueError, OverflowError):
        raise NotUnderstood(name) from None


def _part(value: Any, kind: Any) -> Any:
    """One value of a position, checked: links are changed by hand. ValueError, OverflowError where it is none."""
    if type(value) is not (str if kind is datetime else kind):
        raise ValueError(kind)
    if isinstance(value, int):
        if abs(value) > LARGEST_ID:
            raise ValueError(kind)
        return value
    if kind is datetime and not _WRITTEN_TIME.fullmatch(value):
        raise ValueError(kind)
    if not can_be_stored(value):
        raise ValueError(kind)
    return datetime.fromisoformat(value).astimezone(UTC).isoformat() if kind is datetime else value


def can_be_stored(value: str) -> bool:
    """PostgreSQL has neither NUL nor half a pair of UTF-16."""
    return not any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in value)


def literal(value: object) -> str:
    """A value as SQL writes it, whatever is in it and however backslashes are read; NUL is left out."""
    if isinstance(value, datetime):
        return f"timestamptz '{value.isoformat()}'"
    if isinstance(value, int):
        return str(value)
    text = str(value).replace("\0", "")
    if text.isprintable() and "\\" not in text:
        return "'" + text.replace("'", "''") + "'"
    return "E'" + "".join(_SQL_SIGNS.get(sign) or _sign(sign) for sign in text) + "'"


def command(verb: str, *arguments: object, **options: object) -> str:
    """A line for a shell: options whose value is None are left out, one that is True is a switch."""
    given = [str(argument) for argument in arguments]
    words = [verb, *(["--"] if any(word.startswith("-") for word in given) and not options else []), *given]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return "relay " + " ".join(_word(word) for word in words)


def _word(text: str) -> str:
    """A word for a shell, whatever is in it: what cannot be seen as $'...' writes it."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_SHELL_SIGNS.get(sign) or _sign(sign) for sign in text.replace("\0", "")) + "'"


_SQL_SIGNS = {"'": "''", "\\": "\\\\"}
_SHELL_SIGNS = {"'": "\\'", "\\": "\\\\"}


def _sign(sign: str) -> str:
    if sign.isprintable():
        return sign
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"
