"""``/calls/ID``: one call with all of its positions, and what came back for each."""

from __future__ import annotations

from collections import Counter

from relay import reports
from relay.dashboard.refreshing import PAGE_ONE
from relay.dashboard.visit import NotFound, Page, PageVisit

SQL = """
select * from {schema}.audit_call where id = <id>;
select named.index - 1 as result_index, named.id as message_id, d.outcome, d.error_code, d.error_message
from {schema}.audit_call c cross join unnest(c.message_ids) with ordinality as named (id, index)
left join {schema}.audit_delivery d on d.message_id = named.id and d.call_id = c.id
where c.id = <id> order by 1;
"""


def call(visit: PageVisit) -> Page:
    """NotFound where there is none. It refreshes until it is settled."""
    number = visit.number()
    found = visit.ask(reports.one_call, number)
    if found is None:
        raise NotFound("not_found.call", id=number)
    values = {"call": found.line, "report": found, "counted": Counter(one.came for one in found.positions)}
    every = PAGE_ONE if found.line.settled_at is None else None
    return Page("call.html", values, (), visit.sql(SQL, id=number), {"call": found}, every=every)
