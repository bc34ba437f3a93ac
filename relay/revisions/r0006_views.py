"""Revision 0006, views: those that tell of finished messages read the archive too. Frozen.

Their columns are those of revision 0004, and so are their texts, but that each table is read together with its archive.
What is open (the backlog, in flight, blocked keys, pauses) is never archived, and those views stay as they are.
"""

from __future__ import annotations

import re

from relay.revisions.r0004_views import UPGRADE as BEFORE

_CALL = (
    "select id, account, worker, message_ids, parent_id, claimed_at, lease_until, sent_at, settled_at, outcome, "
    "http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms from {schema}.call"
)
_ATTEMPT = (
    "select message_id, call_id, result_index, outcome, error_code, error_message, at, retry_at from {schema}.attempt"
)
_BOTH = {
    "outbox": "(select * from {schema}.outbox union all select * from {schema}.outbox_archive)",
    "call": f"({_CALL} union all {_CALL}_archive)",
    "attempt": f"({_ATTEMPT} union all {_ATTEMPT}_archive)",
}
_BY_ID = "left join {schema}.call c on c.id = o.call_id"
_TELLING_OF_FINISHED = (
    "audit_message",
    "audit_delivery",
    "audit_call",
    "audit_daily",
    "audit_integrity",
)


def _create(view: str) -> str:
    (text,) = (statement for statement in BEFORE if f"create view {{schema}}.{view} " in statement)
    return text.replace("create view", "create or replace view")


def _reading_both(text: str) -> str:
    """A table without an alias is called by its name, as before."""
    return re.sub(
        r"\{schema\}\.(outbox|call|attempt)\b( as)?( (?!where\b)\w+)?",
        lambda found: f"{_BOTH[found[1]]} as {(found[3] or found[1]).strip()}",
        text,
    )


# The call that ended a message, looked up for each row: hot first, then in the archive from about the message's month
# on, for a call is archived with its last message. As a join, the planner would read whole months rather than look.
_FINAL_CALL = """(
        select request_id, http_status, sub_code from {schema}.call where id = o.call_id
        union all
        select request_id, http_status, sub_code from {schema}.call_archive
        where id = o.call_id and finished_at >= o.finished_at - interval '1 month'
        limit 1)"""

# Attempts are where their message is, so each place is joined by itself; in the archive both have the same time, which
# leads to the month. There too each row is looked up ("offset 0"), and only in that month.
_POSSIBLE_DUPLICATE = r"""
    create or replace view {schema}.audit_possible_duplicate with (security_barrier) as
    select o.id as message_id, o.topic, o.account, o.ordering_key, o.dedupe_key,
        o.times as unknown_outcomes, o.first_at as first_unknown_at, o.last_at as last_unknown_at,
        o.call_ids as unknown_call_ids,
        case
            when o.status = 'done' then 'accepted by a later call'
            when o.status = 'pending' and o.available_at = 'infinity' then 'held for a person'
            when o.status = 'pending' then 'will be sent again'
            when o.error_code = 'relay.discarded' then 'discarded by a person'
            else 'failed'
        end as what_came_of_it,
        o.finished_at, o.call_id as final_call_id, c.request_id as final_request_id
    from (
        select hot.id, hot.topic, hot.account, hot.ordering_key, hot.dedupe_key, hot.status, hot.available_at,
            hot.error_code, hot.finished_at, hot.call_id,
            unclear.times, unclear.first_at, unclear.last_at, unclear.call_ids
        from (
            select message_id, count(*) as times, min(at) as first_at, max(at) as last_at,
                array_agg(call_id order by call_id) as call_ids
            from {schema}.attempt where outcome = 'unknown' group by message_id
        ) as unclear
        join {schema}.outbox hot on hot.id = unclear.message_id
        union all
        select unclear.message_id, old.topic, old.account, old.ordering_key, old.dedupe_key, old.status,
            old.available_at, old.error_code, old.finished_at, old.call_id,
            unclear.times, unclear.first_at, unclear.last_at, unclear.call_ids
        from (
            select message_id, finished_at, count(*) as times, min(at) as first_at, max(at) as last_at,
                array_agg(call_id order by call_id) as call_ids
            from {schema}.attempt_archive where outcome = 'unknown' group by message_id, finished_at
        ) as unclear
        cross join lateral (
            select * from {schema}.outbox_archive
            where id = unclear.message_id and finished_at = unclear.finished_at offset 0
        ) as old
    ) as o
    left join lateral <final call> as c on true
    """.replace("<final call>", _FINAL_CALL)

_ACTIONS = (
    "retry, discard, redact, reveal, prune, archive, drop, pause, resume / "
    "重试、关闭、清除、查看原文、清理、归档、删除归档、暂停、恢复"
)

UPGRADE = (
    *(_reading_both(_create(view)) for view in _TELLING_OF_FINISHED),
    _reading_both(_create("audit_failure").replace(_BY_ID, "left join lateral <final call> as c on true")).replace(
        "<final call>", _FINAL_CALL
    ),
    _POSSIBLE_DUPLICATE,
    f"comment on column {{schema}}.audit_action.action is '{_ACTIONS}'",
)

DOWNGRADE = tuple(_create(view) for view in (*_TELLING_OF_FINISHED, "audit_failure", "audit_possible_duplicate"))
