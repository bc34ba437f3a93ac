"""Revision 0006, functions: moving what finished into the archive, one small batch a transaction. Frozen.

Security definer, so that a worker may archive without any right to delete; nobody may call them unless allowed to. One
batch at a time in the whole fleet: whoever comes meanwhile is told ``busy`` and has changed nothing. What another
transaction has locked stays for the next time, so neither side ever waits. Each batch leaves its row in the ledger.

The door for deleting (``relay.pruning``) is open while the rows move, and then as it was: an error takes the setting
back with everything else. Pages follow the primary key; ids follow the order of inserts, so a page on which everything
was inserted later than ``before`` is the last one worth a look.

Touched once after its release: the door used to be a setting of the functions themselves, which PostgreSQL (15 and
later) lets nobody but a superuser define, so that no other owner could migrate. Revision 0008 replaces the functions
where the first text is installed; both roads end at the same tables.
"""

from __future__ import annotations

MONTHS = (
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
            execute 'create table ' || part || ' partition of ' || here || whole || ' for values from ('
                || quote_literal(date_trunc('month', month)) || ') to ('
                || quote_literal(date_trunc('month', month) + interval '1 month') || ')';
            execute 'create trigger ' || whole || '_is_not_emptied before truncate on ' || part
                || ' for each statement execute function ' || here || 'keep_archive()';
        end loop;
    end
    $body$
    """,
    # A reader whose transaction has the archive open may not learn of a month that is attached meanwhile, and would see
    # its messages in neither place. So a month begins when nobody has it open: no waiting, another time will do.
    r"""
    create function {schema}.open_archives(months date[], out missing date[], out made boolean) language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        missing := array(
            select month from unnest(months) as month
            where not exists (
                select from pg_inherits i join pg_class part on part.oid = i.inhrelid
                where i.inhparent = cast('outbox_archive' as regclass)
                  and part.relname = 'outbox_archive' || to_char(month, '"_y"YYYY"m"MM')));
        made := missing <> '{}';
        if made then
            lock table only outbox_archive, only call_archive, only attempt_archive in access exclusive mode nowait;
            perform open_archive(month) from unnest(missing) as month;
        end if;
    exception when lock_not_available then
        made := false;
    end
    $body$
    """,
)

MOVERS = (
    # What an open call names stays, whatever its status. So does, where a failed message holds its ordering key, one
    # that has a key and was not discarded: in the archive it would hold nothing. A call that begins a month does only
    # that, so that readers are kept out for no longer than it takes.
    r"""
    create function {schema}.archive_messages(
        before timestamptz, batch integer, failed_holds boolean, actor text, reason text,
        inout after bigint, out more boolean, out busy boolean, out messages integer, out attempts integer
    ) language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp set timezone = 'UTC' as $body$
    declare
        began bigint := after;
        page bigint[];
        chosen bigint[];
        missing date[];
        made boolean;
        door text := coalesce(current_setting('relay.pruning', true), '');
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
        select opened.missing, opened.made into missing, made from open_archives(array(
            select distinct cast(date_trunc('month', o.finished_at) as date)
            from outbox o where o.id = any (chosen))) as opened;
        if made then
            after := began;
            more := true;
            return;
        end if;
        chosen := array(
            select o.id from outbox o
            where o.id = any (chosen) and cast(date_trunc('month', o.finished_at) as date) <> all (missing)
            order by o.id);
        if chosen = '{}' then
            return;
        end if;
        perform set_config('relay.pruning', 'on', true);
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
        perform set_config('relay.pruning', door, true);
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
        set search_path = pg_catalog, {schema}, pg_temp set timezone = 'UTC' as $body$
    declare
        began bigint := after;
        page bigint[];
        chosen bigint[];
        finished timestamptz[];
        missing date[];
        made boolean;
        door text := coalesce(current_setting('relay.pruning', true), '');
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
        select opened.missing, opened.made into missing, made from open_archives(array(
            select distinct cast(date_trunc('month', moment) as date) from unnest(finished) as moment)) as opened;
        if made then
            after := began;
            more := true;
            return;
        end if;
        perform set_config('relay.pruning', 'on', true);
        with gone as (
            delete from call c using unnest(chosen, finished) as picked (id, finished_at)
            where c.id = picked.id and cast(date_trunc('month', picked.finished_at) as date) <> all (missing)
            returning c.*, picked.finished_at
        )
        insert into call_archive select * from gone;
        get diagnostics calls = row_count;
        perform set_config('relay.pruning', door, true);
        if calls = 0 then
            return;
        end if;
        insert into action (actor, action, reason, selection, count)
        values (actor, 'archive', reason,
            json_build_object('table', 'call', 'before', before, 'first_id', chosen[1],
                'last_id', chosen[cardinality(chosen)]),
            calls);
    end
    $body$
    """,
)

UPGRADE = (
    *MONTHS,
    *MOVERS,
    r"""
    revoke execute on function {schema}.open_archive(date), {schema}.open_archives(date[]),
        {schema}.archive_messages(timestamptz, integer, boolean, text, text, bigint),
        {schema}.archive_calls(timestamptz, integer, text, text, bigint) from public
    """,
)

DOWNGRADE = (
    "drop function {schema}.archive_calls(timestamptz, integer, text, text, bigint)",
    "drop function {schema}.archive_messages(timestamptz, integer, boolean, text, text, bigint)",
    "drop function {schema}.open_archives(date[])",
    "drop function {schema}.open_archive(date)",
)
