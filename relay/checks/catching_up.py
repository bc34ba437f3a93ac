"""Whether something is left of what a migration leaves to be done afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from relay.checks import Finding, denied, ok, warn
from relay.settings import Settings
from relay.sql import quoted

_LEFT = {
    "keys": "{rows} archived messages have a dedupe key that is not remembered yet, and may be inserted once more",
    "ledger": "{rows} redactions have hashes in the ledger that lead back to what they removed",
    "outbox": "{rows} messages have a hash without a salt, which views do not show",
    "archive": "{rows} archived messages have a hash without a salt, which views do not show",
    "index": "{rows} indexes of the archive's months are missing, and what needs them reads a month whole",
}


def left_to_do(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Rows that a migration left to be filled in later: a warning a step, with the number of rows."""
    function = f"{quoted(settings.schema_name)}.left_to_do()"
    if not connection.scalar(text("select has_function_privilege(:function, 'execute')"), {"function": function}):
        user = connection.scalar(text("select current_user"))
        yield denied(f"the role {user} may not look at it", f"grant execute on function {function} to {user}")
        return
    left = connection.execute(text(f"select step, rows from {function} where rows > 0")).all()  # noqa: S608 quoted
    for step, rows in left:
        yield warn(_LEFT.get(step, "{rows} rows are left of " + step).format(rows=rows), "As the owner: relay migrate")
    if not left:
        yield ok("nothing is left of what migrations leave to be done")
