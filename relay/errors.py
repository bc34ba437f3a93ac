"""Every error that leaves the relay on purpose. Each says in one sentence what is wrong and, in ``hint``, what to do.

    RelayError
    ├── MessageError            the message cannot be inserted (also a ValueError)
    │   └── NotInTransaction    the insert would not share the caller's transaction
    ├── ConfigurationError      settings, credentials, schema revision            exit 78
    │   └── SchemaError         the database schema is missing, older or newer
    ├── UnreachableError        PostgreSQL or the platform cannot be reached      exit 69
    ├── RefusedError            PostgreSQL refuses what depends on a row: its text, its number, its neighbour
    │   └── SwallowedError      what was written is not there: a rule or trigger swallows it
    └── UnsettledError          calls were made, and what became of them could not be written down

The command line maps them to exit codes; nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RelayError(Exception):
    """Base of all. ``str(error)`` is one sentence without secrets or contents; ``hint`` is the next step, or empty.

    A traceback shows the hint below the sentence. ``cause``: where PostgreSQL was behind it, the stable key of what it
    said, of ``database_errors.Kind``.
    """

    exit_code = 1
    cause = ""

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")

    def __str__(self) -> str:
        return str(self.args[0])


class MessageError(RelayError, ValueError):
    """What was given cannot be a message: the topic, the content or a column is not acceptable."""


class NotInTransaction(MessageError):  # noqa: N818 the name says what is the case
    """The connection is in autocommit: the message would be committed apart from the caller's own rows."""


class ConfigurationError(RelayError):
    """A setting is missing, mistyped or out of range."""

    exit_code = 78


class SchemaError(ConfigurationError):
    """The tables in the database are not those this version of the relay works with."""


class UnreachableError(RelayError):
    """PostgreSQL or the platform did not answer at all."""

    exit_code = 69

    def __init__(self, sentence: str, hint: str = "", *, cause: str = "") -> None:
        super().__init__(sentence, hint)
        self.cause = cause


class RefusedError(RelayError):
    """PostgreSQL refuses a statement because of a value in it, or cannot hand out a row. Other rows are as before."""


class SwallowedError(RefusedError):
    """What was written is not there, though PostgreSQL reported no error. Other words would fare no better."""


class UnsettledError(RelayError):
    """The run ended with calls that nobody could settle. Their leases lapse, and their messages are sent again."""


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Around imports: where a library is not installed, the error says which extra of the package brings it.

    ``what`` is what the reader asked for. An error that has been told already stays as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not hasattr(error, "__notes__") and not str(error.name).startswith("relay"):
            error.add_note(f"hint: {what} needs more than an insert does: pip install 'outbox-relay[{extra}]'")
        raise
