"""``/messages/ID``: one message, its content as the views mask it, its calls and attempts on a line of time."""

from __future__ import annotations

import json

from relay import reports
from relay.dashboard.refreshing import LIST
from relay.dashboard.visit import NotFound, Page, PageVisit, command
from relay.traces import trace_address, trace_id_of

MOST_SHOWN, _MOST_GROWTH = 200_000, 4  # characters that indented ones have, and how many times those of the content
SQL = """
select * from {schema}.audit_message where id = <id>;
select * from {schema}.audit_delivery where message_id = <id> order by call_id;
select * from {schema}.audit_call where id in (
    select call_id from {schema}.audit_delivery where message_id = <id>
    union select call_id from {schema}.audit_message where id = <id>);
"""


def message(visit: PageVisit) -> Page:
    """NotFound where there is none, or none any more. It refreshes until it is done: people may retry what failed."""
    number = visit.number()
    found = visit.ask(reports.message, number)
    if found is None:
        raise NotFound("not_found.message", id=number)
    content = visit.ask(reports.masked_content, number)
    of_calls = {attempt.call_id: attempt for attempt in found.history}

    def came(call: reports.Call) -> str:
        """The outcome for this message, as a class and a word."""
        if call.id in of_calls:
            return of_calls[call.id].outcome
        if found.status == "done" and found.call_id == call.id:
            return "done"
        if call.outcome in ("ok", "partial"):
            return "done"
        return "open" if call.outcome is None else "split" if call.outcome == "rejected" else call.outcome

    values = {
        "message": found,
        "content": _shown(content.content) if content else None,
        "traceparent": content.traceparent if content else None,
        "trace": _trace(visit, content.traceparent if content else None),
        "ledger": visit.ask(reports.ledger_of_message, number),
        "attempts": of_calls,
        "came": came,
        "end": found.finished_at or visit.ask(reports.now),
    }
    return Page(
        "message.html",
        values,
        [command("show", number)],
        visit.sql(SQL, id=number),
        {"message": found, "content": content},
        every=None if found.status == "done" or found.archived else LIST,
    )


def _trace(visit: PageVisit, traceparent: str | None) -> str | None:
    """Where the trace is shown, if the settings say."""
    trace_id = trace_id_of(traceparent)
    return trace_address(visit.trace_url, trace_id) if visit.trace_url and trace_id else None


def _shown(content: str) -> str:
    """For people: indented where that stays small, for brackets within brackets grow with the square of their depth.

    What Python cannot read, or what would grow, stays as it is, which the domain of contents bounds.
    """
    most, size, pieces = min(_MOST_GROWTH * len(content) + 100, MOST_SHOWN), 0, []
    try:
        for piece in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(json.loads(content)):
            size += len(piece)
            if size > most:
                return content
            pieces.append(piece)
    except (ValueError, RecursionError):
        return content
    return "".join(pieces)
