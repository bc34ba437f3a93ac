"""Values of PostgreSQL that Python has no form for, read all the same: one strange row must not hide all the others.

``timestamptz`` goes from 4713 BC to the year 294276 and to infinity, and the end of 9999 in one zone is the year 10000
in another; ``datetime`` knows the years 1 to 9999. A text of a database in SQL_ASCII may be of any encoding. What
cannot be held is shown as PostgreSQL writes it. For people who look; what is sent or proved is read exactly.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from psycopg import DataError
from psycopg.abc import Buffer, Loader
from psycopg.pq import Format
from psycopg.types.string import TextLoader
from sqlalchemy import Engine, event

_TIMESTAMPTZ = 1184  # its oid
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


class Beyond(datetime):
    """A time outside the years 1 to 9999: compares as the first or the last of them, reads as PostgreSQL wrote it."""

    written: str

    def __new__(cls, written: str) -> Beyond:
        bound = _FIRST if written.endswith(" BC") or written.startswith(("-", "0000")) else _LAST
        made = super().__new__(cls, bound.year, bound.month, bound.day, tzinfo=UTC)
        made.written = written
        return made

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        """As PostgreSQL wrote it: there is no such date in Python."""
        return self.written.replace(" ", sep, 1) if self.written[:1].isdigit() else self.written

    def __str__(self) -> str:
        return self.written

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Beyond], tuple[str]]:
        return Beyond, (self.written,)  # so that it can be copied


def _reading_far(near: Any) -> type[Loader]:
    """A loader of times that takes what the loader ``near`` does not know."""

    class Far(near):  # type: ignore[misc]
        def load(self, data: Buffer) -> Any:
            try:
                return super().load(data)
            except DataError:
                return Beyond(bytes(data).decode("ascii"))

    return Far


class _Texts(TextLoader):
    r"""A byte that is no text is shown as ``\xd6``."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "backslashreplace")


def read_far_times(engine: Engine) -> None:
    """Let the connections of this engine read any time."""

    def connected(raw: Any, _record: object) -> None:
        near = raw.adapters.get_loader(_TIMESTAMPTZ, Format.TEXT)  # of the zone in which times are told
        raw.adapters.register_loader("timestamptz", _reading_far(near))

    event.listen(engine, "connect", connected)


def read_any_text(engine: Engine) -> None:
    """Let the connections of this engine read any text, where the database does not see to it that it is one."""

    def connected(raw: Any, _record: object) -> None:
        if raw.info.parameter_status("server_encoding") == "SQL_ASCII":
            raw.execute("set client_encoding to sql_ascii")  # else the server refuses to send it
            raw.commit()
            for kind in ("text", "varchar", "name"):
                raw.adapters.register_loader(kind, _Texts)

    event.listen(engine, "connect", connected)
