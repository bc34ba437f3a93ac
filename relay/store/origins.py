"""Where messages come from: the trace context in their headers, read apart from the claim, which never pays for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from relay.store.running import fetch
from relay.traces import Origin

# Looked for in the text, as the views do: whatever else an application has put there cannot fail. Without a backslash,
# whose meaning in a text is a setting.
ORIGINS = """
select id, substring(cast(headers as text) from '"traceparent"[^"]*"([0-9a-f-]{55})"') as traceparent,
    substring(cast(headers as text) from '"tracestate"[^"]*"([^"]+)"') as tracestate,
    cast(extract(epoch from clock_timestamp() - created_at) as double precision) as seconds
from {schema}.outbox where id = any (cast(:ids as bigint[]))
"""


def origins_in(
    transaction: Callable[[], AbstractContextManager[Connection]],
) -> Callable[[Sequence[int]], tuple[Origin, ...]]:
    """What gives the origins of messages, by their ids and in the order of these, as far as they are in the outbox."""

    def origins(ids: Sequence[int]) -> tuple[Origin, ...]:
        with transaction() as connection:
            rows = fetch(connection, ORIGINS, {"ids": list(ids)})
        return tuple(sorted(Origin(row.id, row.traceparent, row.tracestate, row.seconds) for row in rows))

    return origins
