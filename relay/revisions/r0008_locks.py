"""Revision 0008, locks that need a right. Frozen once released: never edit, add one.

Whoever can log in can take any advisory lock, and nobody can forbid it. What keeps archivers, those who step over ids
and those who name calls apart is now a lock on an empty table that nobody but the owner has any right on, taken by the
owner's functions. A worker of the version before knows the advisory lock alone: while such are about, whoever names
calls takes that one too if it is free, and whoever looks asks for both.

The buckets of ordering keys (revision 0002) stay advisory locks, for nothing else costs an insert so little. An insert
waits for one no longer than five seconds, and then says who has it; a claim can tell a writer from a stranger: a writer
has the lock of those who write the outbox too.
"""

from __future__ import annotations

_TABLES = ("archive_lock", "ids_lock", "naming_lock")
_FUNCTIONS = ("archive_alone()", "name_calls()", "nobody_names_calls()", "wait_for_key(regclass, integer)")


_ALONE = r"""
    create function {schema}.archive_alone() returns boolean language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        lock table archive_lock in exclusive mode nowait;
        return true;
    exception when lock_not_available then
        return false;
    end
    $body$
    """
# Held until the transaction of the caller ends, whom nobody keeps waiting. Every claim calls it: a setting of its own
# would be set and taken back each time, so every name says where it is from.
_NAME = r"""
    create function {schema}.name_calls() returns void language plpgsql security definer as $body$
    begin
        lock table {schema}.naming_lock in row exclusive mode;
        perform pg_catalog.pg_try_advisory_xact_lock_shared(
            cast(cast('{schema}.call' as pg_catalog.regclass) as integer), 0);
    end
    $body$
    """
# Had for a moment only: what was locked inside a block that ends by an error is free again.
_NOBODY = r"""
    create function {schema}.nobody_names_calls() returns boolean language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        class integer := cast(cast('call' as regclass) as integer);
    begin
        begin
            lock table naming_lock in share mode nowait;
            raise sqlstate 'RELAY';
        exception
            when lock_not_available then return false;
            when sqlstate 'RELAY' then null;
        end;
        return case when pg_try_advisory_lock(class, 0) then pg_advisory_unlock(class, 0) else false end;
    end
    $body$
    """
# Whoever waits hears who is in the way before a time-out of the session's ends statement or session without a name.
_WAIT = r"""
    create function {schema}.wait_for_key(of_table regclass, bucket integer) returns void language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    declare
        before text := current_setting('lock_timeout');
        most interval;
        who text;
    begin
        select greatest(interval '1 ms', least(
            interval '5 s', 0.8 * min(cast(ends.after as interval) - (clock_timestamp() - ends.began))))
        into most
        from (values (current_setting('statement_timeout'), statement_timestamp()),
            (current_setting('transaction_timeout', true), now())) as ends (after, began)
        where ends.after <> '0';
        if cast(before as interval) not between interval '1 ms' and most then
            perform set_config('lock_timeout', concat(ceil(1000 * extract(epoch from most)), 'ms'), true);
        end if;
        begin
            perform pg_advisory_xact_lock_shared(cast(of_table as integer), bucket);
        exception when lock_not_available then
            select concat_ws(', ', 'process ' || l.pid, 'role ' || a.usename,
                'in this state since ' || a.state_change,
                case when l.pid is null then 'prepared ' || l.virtualtransaction end) into who
            from pg_locks l left join pg_stat_activity a on a.pid = l.pid
            where l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock' and l.objsubid = 2
              and l.classid = cast(of_table as oid) and l.objid = cast(bucket as oid)
              and l.database = (select oid from pg_database where datname = current_database())
            limit 1;
            raise exception using errcode = 'lock_not_available',
                message = concat('somebody holds the lock of this ordering key: ', coalesce(who, 'gone now')),
                hint = 'The relay holds it for a moment only. End that session: select pg_terminate_backend(PID)';
        end;
        perform set_config('lock_timeout', before, true);
    end
    $body$
    """
# Whoever may insert calls may name them, without ``relay roles`` being run first.
_GRANT = r"""
    do $body$
    declare
        grantee text;
    begin
        for grantee in
            select case when acl.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end
            from pg_attribute a cross join aclexplode(a.attacl) as acl
            where a.attrelid = cast('{schema}.call' as regclass) and a.attname = 'message_ids'
              and acl.privilege_type = 'INSERT'
            union
            select case when acl.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end
            from pg_class c cross join aclexplode(c.relacl) as acl
            where c.oid = cast('{schema}.call' as regclass) and acl.privilege_type = 'INSERT'
        loop
            execute 'grant execute on function {schema}.name_calls(), {schema}.nobody_names_calls() to ' || grantee;
        end loop;
    end
    $body$
    """

UPGRADE: tuple[str, ...] = (
    *(f"create table {{schema}}.{table} ()" for table in _TABLES),
    _ALONE,
    _NAME,
    _NOBODY,
    _WAIT,
    f"revoke execute on function {', '.join(f'{{schema}}.{name}' for name in _FUNCTIONS)} from public",
    _GRANT,
)

DOWNGRADE: tuple[str, ...] = (
    *(f"drop function {{schema}}.{name}" for name in _FUNCTIONS),
    *(f"drop table {{schema}}.{table}" for table in _TABLES),
)
