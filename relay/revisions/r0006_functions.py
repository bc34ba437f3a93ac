"""Revision 0006, functions: moving what finished into the archive, one small batch a transaction. Frozen.

Security definer, so that a worker may archive without any right to delete; nobody may call them unless allowed to. One
batch at a time in the whole fleet: whoever comes meanwhile is told ``busy`` and has changed nothing. What another
transaction has locked stays for the next time, so neither side ever waits. Each batch leaves its row in the ledger.

The door for deleting (``relay.pruning``) is open as long as the function runs. Pages follow the primary key; ids follow
the order of inserts, so a page on which everything was inserted later than ``before`` is the last one worth a look.
"""

from __future__ import annotations

UPGRADE = (
    # Made apart and then attached, which takes no lock that a reader or a writer of the archive would wait for.
    r"""
    create function {schema}.open_archive(month date) returns void language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp set timezone = 'UTC' set datestyle = 'ISO' as $body$
    declare
        here text := (select quote_ident(n.nspname) || '.' from pg_class c join pg_namespace n on n.oid = c.relnamespace
                      where c.oid = cast('outbox_archive' as regclass));
        whole text;
        part text;
    begin
        foreach whole in array array['outbox_archive', 'call_archive', 'attempt_archive'] loop
            part := here || whole || to_char(month, '"_y"YYYY"m"MM');
            continue when to_regclass(part) is not null;
            execute 'create table ' || part || ' (like ' || here || whole || ')';
            execute 'create trigger ' || whole || '_is_not_emptied before truncate on ' || part
                || ' for each statement execute function ' || here || 'keep_archive()';
            execute 'alter table ' || here || whole || ' attach partition ' || part || ' for values from ('
                || quote_literal(month) || ') to (' || quote_literal(cast(month + interval '1 month' as date)) || ')';
        end loop;
    end
    $body$
    """,
    # What an open call names stays, whatever its status. So does, where a failed message holds its ordering key, one
    # that has a key and was not discarded: in the archive it would hold nothing.
    r"""
    create function {schema}.archive_messages(
        before timestamptz, batch integer, failed_holds boolean, actor text, reason text,
        inout after bigint, out more boolean, out busy boolean, out messages integer, out attempts integer
    ) language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp set timezone = 'UTC' set relay.pruning = 'on' as $body$
    declare
        page bigint[];
        chosen bigint[];
    begin
        messages := 0;
        attempts := 0;
        busy := not pg_try_advisory_xact_lock(cast(cast('outbox' as regclass) as integer), 257);
        if busy then
            return;
        end if;
        select array_agg(found.id order by found.id), coalesce(min(found.created_at) < before, false) into page, more
        from (select o.id, o.created_at from outbox o where o.id > after order by o.id limit batch) as found;
        after := page[cardinality(page)];
        chosen := array(
            select o.id from outbox o
            where o.id = any (page) and o.status <> 'pending' and o.finished_at < before
              and o.id not in (select unnest(c.message_ids) from call c where c.settled_at is null)
              and not (failed_holds and o.status = 'failed' and o.ordering_key is not null
                       and o.error_code is distinct from 'relay.discarded')
            order by o.id
            for update skip locked);
        if chosen = '{}' then
            return;
        end if;
        perform open_archive(found.month) from (
            select distinct cast(date_trunc('month', o.finished_at) as date) as month
            from outbox o where o.id = any (chosen)) as found;
        with gone as (
            delete from attempt a using outbox o
            where a.message_id = any (chosen) and o.id = a.message_id
            returning a.*, o.finished_at
        )
        insert into attempt_archive select * from gone;
        get diagnostics attempts = row_count;
        with gone as (
            delete from outbox o where o.id = any (chosen) returning o.*
        )
        insert into outbox_archive select * from gone;
        get diagnostics messages = row_count;
        insert into action (actor, action, reason, selection, count)
        values (actor, 'archive', reason,
            json_build_object('table', 'outbox', 'before', before, 'first_id', chosen[1],
                'last_id', chosen[cardinality(chosen)], 'attempts', attempts),
            messages);
    end
    $body$
    """,
    # A call follows when none of its messages is left in outbox. Its time is that of its last message: the time of the
    # call itself where all of them were accepted, else theirs have to be looked up.
    r"""
    create function {schema}.archive_calls(
        before timestamptz, batch integer, actor text, reason text,
        inout after bigint, out more boolean, out busy boolean, out calls integer
    ) language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp set timezone = 'UTC' set relay.pruning = 'on' as $body$
    declare
        page bigint[];
        chosen bigint[];
        finished timestamptz[];
    begin
        calls := 0;
        busy := not pg_try_advisory_xact_lock(cast(cast('outbox' as regclass) as integer), 257);
        if busy then
            return;
        end if;
        select array_agg(found.id order by found.id), coalesce(min(found.claimed_at) < before, false) into page, more
        from (select c.id, c.claimed_at from call c where c.id > after order by c.id limit batch) as found;
        after := page[cardinality(page)];
        select array_agg(found.id order by found.id), array_agg(found.finished_at order by found.id)
        into chosen, finished
        from (
            select c.id, case when c.outcome = 'ok' then c.settled_at else greatest(c.settled_at, (
                select max(o.finished_at) from outbox_archive o
                where o.id = any (c.message_ids) and o.finished_at > c.settled_at)) end as finished_at
            from call c
            where c.id = any (page) and c.settled_at < before
              and not exists (select from outbox o where o.id = any (c.message_ids))
        ) as found;
        if chosen is null then
            return;
        end if;
        perform open_archive(found.month) from (
            select distinct cast(date_trunc('month', moment) as date) as month
            from unnest(finished) as moment) as found;
        with gone as (
            delete from call c using unnest(chosen, finished) as picked (id, finished_at)
            where c.id = picked.id
            returning c.*, picked.finished_at
        )
        insert into call_archive select * from gone;
        get diagnostics calls = row_count;
        insert into action (actor, action, reason, selection, count)
        values (actor, 'archive', reason,
            json_build_object('table', 'call', 'before', before, 'first_id', chosen[1],
                'last_id', chosen[cardinality(chosen)]),
            calls);
    end
    $body$
    """,
    r"""
    revoke execute on function {schema}.open_archive(date),
        {schema}.archive_messages(timestamptz, integer, boolean, text, text, bigint),
        {schema}.archive_calls(timestamptz, integer, text, text, bigint) from public
    """,
)

DOWNGRADE = (
    "drop function {schema}.archive_calls(timestamptz, integer, text, text, bigint)",
    "drop function {schema}.archive_messages(timestamptz, integer, boolean, text, text, bigint)",
    "drop function {schema}.open_archive(date)",
)
