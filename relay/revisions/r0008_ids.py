"""Revision 0008, ids: given ones stay, used ones are stepped over. Frozen once released: add, never edit.

A sequence that was left behind its table (a restart by hand, a logical switch-over, rows copied in without it) draws
ids that are taken. For an insert with ``on conflict do nothing`` that conflict looks like a dedupe key's, and the
message is lost without a word; for a claim it is an error that ends it. So whoever inserts looks whether its id is free
and nothing lies beyond the sequence, and steps over what is taken. Forwards only.

The look costs an index probe. The ledger makes it each time. A session that inserts messages makes it once in a tenth
of a second, one that names calls once a second (a call with a used id is an error, and no loss), and either whenever an
id is lower than that of its last look. Security definer, because whoever inserts has no rights on sequences and need
not be able to read.
"""

from __future__ import annotations

from relay.revisions import r0002, r0003

# Nothing lies beyond a sequence as a rule, so the look ends at once, also while dead rows cannot be cleaned up. It
# reads the sequence after its snapshot was taken: what it sees was drawn before. The plan stays in the session from a
# time when the table was empty; only without sorting it is the index for certain.
_LOOKS = """
    create function {schema}.step_over_action_ids() returns trigger language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp set enable_sort = off as $body$
    begin
        if (select not drawn.is_called or (select beyond.id from action beyond
                                           where beyond.id > drawn.last_value order by beyond.id limit 1) is not null
            from action_id_seq drawn)
        then
            perform step_over_used_ids('action');
        end if;
        return null;
    end
    $body$
    """
_EACH_TIME = """
    create trigger action_steps_over_used_ids
        before insert on {schema}.action
        for each statement execute function {schema}.step_over_action_ids()
    """
# The condition that ``keep_evidence`` has, too. It is asked in every insert, so nothing is set for it.
_CALLS = """
    create function {schema}.step_over_call_ids() returns trigger language plpgsql security definer as $body$
    begin
        if (new.id operator(pg_catalog.>)
                cast('0' operator(pg_catalog.||) pg_catalog.current_setting('relay.last_call', true) as bigint)
            and pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) operator(pg_catalog.<)
                cast('0' operator(pg_catalog.||) pg_catalog.current_setting('relay.look_at_calls', true) as bigint)
            ) is not true
        then
            execute pg_catalog.concat('select ', pg_catalog.quote_ident(tg_table_schema), '.unused_call_id($1)')
                into new.id using new.id;
        end if;
        return new;
    end
    $body$
    """
_EACH_CALL = """
    create trigger call_steps_over_used_ids
        before insert on {schema}.call
        for each row execute function {schema}.step_over_call_ids()
    """
# Each session looks at everything once, archive and all, and whenever an id is not higher than the one before.
_UNUSED_CALL = """
    create function {schema}.unused_call_id(id bigint) returns bigint language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp set enable_sort = off set exit_on_error = off as $body$
    declare
        last bigint := cast(nullif(current_setting('relay.last_call', true), '') as bigint);
        given boolean := true;
    begin
        begin
            given := id <> currval('call_id_seq');
        exception when object_not_in_prerequisite_state then
            null;  -- this session has drawn none
        end;
        if not given and (last is null or id <= last or (
            select exists (select from call taken where taken.id = unused_call_id.id) or (
                select beyond.id from call beyond
                where beyond.id > drawn.last_value order by beyond.id limit 1) is not null
            from call_id_seq drawn))
        then
            perform step_over_used_ids('call');
            if pg_sequence_last_value('call_id_seq') > id then
                id := nextval('call_id_seq');
            end if;
        end if;
        perform set_config('relay.last_call', cast(id as text), false);
        perform set_config('relay.look_at_calls',
            cast(1 + cast(ceil(date_part('epoch', clock_timestamp())) as bigint) as text), false);
        return id;
    end
    $body$
    """

UPGRADE: tuple[str, ...] = (
    # Whoever steps does so alone, and looks again once it is alone. A short way is gone id by id, which nobody else can
    # undo who draws meanwhile. The lock is free again at once, for the block ends by an error; sequences go back for
    # none. Held until the transaction ends, it would keep claims waiting for an application. That error is caught, also
    # in the session of somebody whom any error would cost the connection.
    r"""
    create function {schema}.step_over_used_ids(of_table text) returns void
        language plpgsql set search_path = pg_catalog, {schema}, pg_temp set exit_on_error = off as $body$
    declare
        sequence text := of_table || '_id_seq';
        used bigint;
        archived bigint;
        drawn bigint;
    begin
        lock table ids_lock in exclusive mode;
        execute 'select max(id) from ' || of_table into used;
        if to_regclass(of_table || '_archive') is not null then
            execute 'select max(id) from ' || of_table || '_archive' into archived;
        end if;
        used := greatest(used, archived);
        execute 'select last_value - cast(not is_called as integer) from ' || sequence into drawn;
        if used - drawn between 1 and 100 then
            perform nextval(sequence) from generate_series(drawn + 1, used);
        elsif used > drawn then
            perform setval(sequence, used);
        end if;
        raise sqlstate 'RELAY';
    exception when sqlstate 'RELAY' then
        null;
    end
    $body$
    """,
    "revoke execute on function {schema}.step_over_used_ids(text) from public",
    _LOOKS,
    _EACH_TIME,
    _UNUSED_CALL,
    "revoke execute on function {schema}.unused_call_id(bigint) from public",
    _CALLS,
    _EACH_CALL,
    # The first id of all is drawn by a sequence that knows nothing, also not of the archive. An id that somebody gave
    # (a restore) is not looked at: if it is there already, whoever gave it is told. Drawn is what this session drew
    # last, in this very transaction.
    r"""
    create function {schema}.unused_id(id bigint, created_xid xid8) returns bigint language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp set enable_sort = off set exit_on_error = off as $body$
    declare
        given boolean := true;
    begin
        if created_xid = pg_current_xact_id() then
            begin
                given := id <> currval('outbox_id_seq');
            exception when object_not_in_prerequisite_state then
                null;  -- this session has drawn none
            end;
        end if;
        if given then
            perform set_config('relay.look_again', '', false);
            return id;
        end if;
        if id = 1 or (
            select exists (select from outbox taken where taken.id = unused_id.id) or (
                select beyond.id from outbox beyond
                where beyond.id > drawn.last_value order by beyond.id limit 1) is not null
            from outbox_id_seq drawn)
        then
            perform step_over_used_ids('outbox');
            if pg_sequence_last_value('outbox_id_seq') > id
                or exists (select from outbox taken where taken.id = unused_id.id)
            then
                id := nextval('outbox_id_seq');
            end if;
        end if;
        perform set_config('relay.last_id', cast(id as text), false);
        perform set_config('relay.look_again',
            cast(cast(date_part('epoch', clock_timestamp()) * 1000 + 100 as bigint) as text), false);
        return id;
    end
    $body$
    """,
    "revoke execute on function {schema}.unused_id(bigint, xid8) from public",
    # What relay check asks. The tables are read before their sequences.
    r"""
    create function {schema}.sequences_left_behind() returns table (sequence text, used bigint) language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        for sequence, used in
            select 'outbox_id_seq', greatest((select max(id) from outbox), (select max(id) from outbox_archive))
            union all select 'call_id_seq', greatest((select max(id) from call), (select max(id) from call_archive))
            union all select 'action_id_seq', (select max(id) from action)
        loop
            if used > coalesce(pg_sequence_last_value(sequence), 0) then
                return next;
            end if;
        end loop;
    end
    $body$
    """,
    "revoke execute on function {schema}.sequences_left_behind() from public",
    # An id that was drawn a moment ago was drawn without the lock, and is drawn again under it. One that somebody gave
    # (a restore) stays: its row comes from another transaction, or this session drew another id last, or none.
    r"""
    create or replace function {schema}.keep_order() returns trigger language plpgsql security definer as $body$
    declare
        drawn bigint;
    begin
        if not pg_catalog.pg_try_advisory_xact_lock_shared(
            cast(tg_relid as integer),
            (pg_catalog.hashtext(new.account) operator(pg_catalog.#) pg_catalog.hashtext(new.ordering_key))
                operator(pg_catalog.&) 255)
        then
            execute pg_catalog.concat('select ', pg_catalog.quote_ident(tg_table_schema), '.wait_for_key($1, $2)')
                using cast(tg_relid as pg_catalog.regclass),
                    (pg_catalog.hashtext(new.account) operator(pg_catalog.#) pg_catalog.hashtext(new.ordering_key))
                        operator(pg_catalog.&) 255;
        end if;
        if new.created_xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id() then
            begin
                drawn := pg_catalog.currval(cast(tg_argv[0] as pg_catalog.regclass));
            exception when object_not_in_prerequisite_state then
                return new;
            end;
            if new.id operator(pg_catalog.=) drawn then
                new.id := pg_catalog.nextval(cast(tg_argv[0] as pg_catalog.regclass));
            end if;
        end if;
        return new;
    end
    $body$
    """,
    # A transaction that has notified cannot be prepared. Whoever will prepare one says: set local relay.wake = off
    # Anybody who can log in can fill the queue of notifications, and then who notifies cannot commit. So nobody does
    # while it is half full; workers find the message when they look.
    r"""
    create or replace function {schema}.wake() returns trigger language plpgsql as $body$
    begin
        if not pg_catalog.pg_try_advisory_xact_lock_shared(cast(tg_relid as integer), 256)
            and coalesce(pg_catalog.current_setting('relay.wake', true), '') operator(pg_catalog.<>) 'off'
            and pg_catalog.pg_notification_queue_usage() operator(pg_catalog.<) 0.5
        then
            perform pg_catalog.pg_notify(pg_catalog.concat('relay_', tg_relid), '');
        end if;
        return null;
    end
    $body$
    """,
)


def _as_before(name: str, statements: tuple[str, ...]) -> str:
    """How an earlier revision wrote this function."""
    begin = f"create function {{schema}}.{name}()"
    (found,) = (text for text in statements if begin in text)
    return found.replace("create function", "create or replace function")


DOWNGRADE: tuple[str, ...] = (
    _as_before("wake", r0003.UPGRADE),
    _as_before("keep_order", r0002.UPGRADE),
    "drop function {schema}.sequences_left_behind()",
    "drop function {schema}.unused_id(bigint, xid8)",
    "drop trigger call_steps_over_used_ids on {schema}.call",
    "drop function {schema}.step_over_call_ids()",
    "drop function {schema}.unused_call_id(bigint)",
    "drop trigger action_steps_over_used_ids on {schema}.action",
    "drop function {schema}.step_over_action_ids()",
    "drop function {schema}.step_over_used_ids(text)",
)
