"""Revision 0008, what people look up. Frozen once released: never edit, add one.

The latest messages, without masking all of them: a view that hides what it may not show is worked out before anybody
can sort it, so ``order by id desc limit 100`` over it reads and masks everything there is. Here the ids come first,
from the ends of the primary keys, and then each message is looked up. What it shows is what the view shows.
"""

from __future__ import annotations

UPGRADE: tuple[str, ...] = (
    r"""
    create function {schema}.latest_messages(most integer default 100) returns setof {schema}.audit_message
        language plpgsql stable security definer
        set search_path = pg_catalog, {schema}, pg_temp set plan_cache_mode = 'force_custom_plan' as $body$
    begin
        return query
        select message.*
        from (
            select everywhere.id
            from (select o.id from outbox o union all select a.id from outbox_archive a) as everywhere
            order by everywhere.id desc limit coalesce(most, 100)
        ) as newest
        cross join lateral (select one.* from audit_message one where one.id = newest.id offset 0) as message
        order by message.id desc;
    end
    $body$
    """,
    "revoke execute on function {schema}.latest_messages(integer) from public",
    r"""
    comment on function {schema}.latest_messages(integer) is
        'The latest messages as audit_message shows them, the newest first / 最新的消息，与 audit_message 一致'
    """,
)

DOWNGRADE: tuple[str, ...] = ("drop function {schema}.latest_messages(integer)",)
