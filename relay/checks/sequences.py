"""Whether ids are drawn beyond those in use, archive included: a restore or switch-over may leave a sequence behind."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from relay.checks import Finding, denied, fail, ok
from relay.settings import Settings
from relay.sql import quoted


def sequences(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether ids would be given a second time, as happens when only rows are restored."""
    schema = quoted(settings.schema_name)
    function = f"{schema}.sequences_left_behind()"
    if not connection.scalar(text("select has_function_privilege(:function, 'execute')"), {"function": function}):
        user = connection.scalar(text("select current_user"))
        yield denied(f"the role {user} may not look at them", f"grant execute on function {function} to {user}")
        return
    behind = connection.execute(text(f"select sequence, used from {function}")).all()  # noqa: S608 quoted above
    for sequence, used in behind:
        name = f"{schema}.{sequence}"
        yield fail(
            f"the sequence {name} is left behind: id {used} is in use already, and would be given once more",
            f"As the owner: select setval('{name}', {used})",
        )
    if not behind:
        yield ok("ids are drawn beyond those in use, the archive included")
