"""Revision 0008, what people look up. Frozen once released: never edit, add one.

What is archived never changes, so indexes there cost those who archive and nobody else: by ordering key, and in blocks
by when a message finished. In the outbox they would cost every settling. An archive that is there already gets them
month by month afterwards (``r0008_catching_up``): it would take seconds, with every table locked.

The latest messages, without masking all of them: a view that hides what it may not show is worked out before anybody
can sort it, so ``order by id desc limit 100`` over it reads and masks everything there is. Here the ids come first,
from the ends of the primary keys, and then each message is looked up. What it shows is what the view shows.
"""

from __future__ import annotations

import re

from relay.revisions import r0008_evidence

# The platform's id is looked up for each row that shows it, and for no other. As a join it was looked up for every
# message, asked for or not, and the planner, who cannot know that there is one call at most, reckoned with fifty times
# the rows. It is that of a call which names the message: which one ended it is the word of whoever settled. Hot first,
# then in the archive from about the message's month on: a call goes there with its last message.
_JOINED = re.compile(r"\n    left join \(select id, account, worker, .*? as c on c\.id = o\.call_id", re.DOTALL)
_LOOKED_UP = """(
            select c.request_id from {schema}.call c
            where c.id = o.call_id and c.message_ids[o.result_index + 1] = o.id
            union all
            select c.request_id from {schema}.call_archive c
            where c.id = o.call_id and c.message_ids[o.result_index + 1] = o.id
                and c.finished_at >= o.finished_at - interval '1 month'
            limit 1) as request_id"""
(_MESSAGE,) = (text for text in r0008_evidence.VIEWS if "view {schema}.audit_message " in text)
_VIEW = _JOINED.sub("", _MESSAGE).replace("c.request_id", _LOOKED_UP, 1)
assert "as c on" not in _VIEW

# What is indexed, and how. A month's own is called what PostgreSQL calls it where it makes one with the month.
_INDEXES = {
    "outbox_archive_keys": "(ordering_key) where ordering_key is not null",
    "outbox_archive_finished": "using brin (finished_at) with (pages_per_range = 32, autosummarize = on)",
}
_NAMES = {"outbox_archive_keys": "_ordering_key_idx", "outbox_archive_finished": "_finished_at_idx"}

# One index a transaction: nobody archives while a month gets its own, and whoever wants to is told so; readers go on.
_INDEX_MONTH = """
    create function {schema}.index_month(last bigint) returns bigint language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp set lock_timeout = '500ms' as $body$
    declare
        here name := (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                      where c.oid = cast('outbox_archive' as regclass));
        months name[];
        whole name[];
    begin
        select array_agg(part.relname order by part.relname, index.name),
            array_agg(index.name order by part.relname, index.name)
        into months, whole
        from pg_inherits i join pg_class part on part.oid = i.inhrelid
            cross join unnest(cast('<all>' as text[])) as index (name)
        where i.inhparent = cast('outbox_archive' as regclass) and not exists (
            select from pg_index x join pg_inherits one on one.inhrelid = x.indexrelid
            where x.indrelid = part.oid and one.inhparent = cast(index.name as regclass));
        if months is null then
            return last;
        end if;
        -- Read once without a lock: what was just salted is then in memory, with its marks, when it is read with one.
        execute format('select count(*) from %I.%I', here, months[1]);
        if not archive_alone() then
            return last - cardinality(months);
        end if;
        case whole[1]
            <made>
        end case;
        return last - (cardinality(months) - 1);
    exception when lock_not_available then
        return last - cardinality(months);
    end
    $body$
    """.replace("<all>", f"{{{','.join(_INDEXES)}}}").replace(
    "<made>",
    "\n            ".join(
        f"when '{name}' then\n"
        f"                execute format('create index %I on %I.%I {how}', "
        f"months[1] || '{_NAMES[name]}', here, months[1]);\n"
        f"                execute format('alter index %I.{name} attach partition %I.%I', here, here, "
        f"months[1] || '{_NAMES[name]}');"
        for name, how in _INDEXES.items()
    ),
)

INDEXES = (
    """
    do $body$
    declare
        later text := case when exists (select from {schema}.outbox_archive) then 'only ' else '' end;
    begin
        <made>
        if later <> '' then
            insert into {schema}.catching_up (step, reached, last)
            select 'index', 0, <each> * count(*) from pg_inherits
            where inhparent = cast('{schema}.outbox_archive' as regclass);
        end if;
    end
    $body$
    """.replace("<each>", str(len(_INDEXES))).replace(
        "<made>",
        "\n        ".join(
            f"execute 'create index {name} on ' || later || '{{schema}}.outbox_archive {how}';"
            for name, how in _INDEXES.items()
        ),
    ),
    _INDEX_MONTH,
    "revoke execute on function {schema}.index_month(bigint) from public",
)

UPGRADE: tuple[str, ...] = (
    *INDEXES,
    _VIEW,
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

DOWNGRADE: tuple[str, ...] = (
    "drop function {schema}.latest_messages(integer)",
    _MESSAGE,
    "drop function {schema}.index_month(bigint)",
    "drop index {schema}.outbox_archive_finished",
    "drop index {schema}.outbox_archive_keys",
)
