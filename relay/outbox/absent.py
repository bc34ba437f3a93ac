"""What is said beside PostgreSQL's own error where the relay has no tables: the error itself stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def told_if_absent(schema: str) -> Iterator[None]:
    """Around an insert into the outbox: a note says how the tables come to be, or that they have another schema."""
    try:
        yield
    except Exception as error:
        if _is_absent(error):
            error.add_note(
                f"hint: the relay has no tables in the schema {schema!r} of this database. Run: relay migrate. "
                "Where they have another schema (RELAY_SCHEMA), name it: schema=..."
            )
        raise


def _is_absent(error: BaseException) -> bool:
    """The driver's error is this one, or SQLAlchemy's ``orig``, or what Django's was raised from."""
    from relay.database_errors import NO_TABLE, sqlstate  # loaded only where something went wrong

    own = getattr(error, "orig", None) or error.__cause__
    return any(
        (sqlstate(each) or getattr(each, "pgcode", None)) == NO_TABLE and "outbox" in str(each)
        for each in (error, own, getattr(own, "__cause__", None))
        if each is not None
    )
