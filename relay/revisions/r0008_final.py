"""Revision 0008, what has ended stays as it ended, whoever writes. Frozen once released: never edit, add one.

A worker has to write outcomes, and so might whoever stole its login. What it may write is bounded here: an end is of
the moment at which it is written and stays as it is, attempts count up one by one, a lease ends soon, nobody but a
person discards, and a person's pause is not cut short. Only the owner may do otherwise, and the owner's functions with
it (retry, discard, redact, archive).

A message that is done as usual passes the ``when`` of one trigger; what calls and attempts may say is in
``r0008_naming``. A transaction's own time is that of its begin, so one that was kept open is refused, too. Workers of
the version before write the same.
"""

from __future__ import annotations

from relay.revisions.r0008_inserts import REFUSE_STATE, UNSOUND_STATE
from relay.revisions.r0008_words import CODE_BYTES, TEXT_BYTES, TOO_LONG, longer

_FIRST = "timestamp '0001-01-02' at time zone 'UTC'"
_END = "timestamp '9999-12-31' at time zone 'UTC'"
# Settling is over in milliseconds; a server that stood still for long makes its worker begin anew.
KEPT_OPEN = "now() < clock_timestamp() - interval '10 minutes'"
OWNER = "pg_has_role(current_user, (select c.relowner from pg_class c where c.oid = tg_relid), 'usage')"

# What every message that is done passes, as short as it can be said, for a statement reads the text of it anew and asks
# it of each row. Everything else is looked at by the function.
_DONE_AS_USUAL = """
    new.status = 'done' and old.status = 'pending' and new.finished_at = now()
    and clock_timestamp() < now() + interval '10 minutes' and new.attempts = old.attempts + 1
    and new.available_at = old.available_at and new.call_id is not null and new.result_index is not null
    and not new.error_code is distinct from old.error_code and not new.error_message is distinct from old.error_message
"""
# A message that was discarded and retried keeps that code until its next outcome. When it is due counts where it is
# changed: whoever inserts may say '-infinity', and rows from before there were limits say more than that.
_UNTRUE = f"""
            old.status <> 'pending'
            or new.status <> 'pending' and (new.finished_at <> now() or {KEPT_OPEN})
            or new.attempts - old.attempts not between 0 and 1
            or (new.available_at < {_FIRST} or new.available_at >= {_END} and new.available_at < 'infinity')
                and new.available_at is distinct from old.available_at
            or new.error_code = 'relay.discarded'
                and (new.status = 'failed' or old.error_code is distinct from new.error_code)
            or new.error_code = 'relay.expired' and new.status = 'failed'
                and (new.deliver_before <= now()) is not true"""
# What a person said when discarding may be longer, and stays until the next outcome.
_TOO_LONG = f"""
            ({longer(error_code=CODE_BYTES, error_message=TEXT_BYTES)})
            and (new.error_code, new.error_message) is distinct from (old.error_code, old.error_message)"""
_PACE = "new.next_at > clock_timestamp() + interval '1 day'"

OWNERS_ALONE = (
    r"""
    create function {schema}.refuse_but_owner() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    begin
        if pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
            return new;
        end if;
        raise exception using
            errcode = 'restrict_violation',
            message = tg_argv[0],
            hint = tg_argv[1];
    end
    $body$
    """,
    f"""
    create trigger pace_is_near
        before insert or update on {{schema}}.pace
        for each row when ({_PACE})
        execute function {{schema}}.refuse_but_owner(
            'the next call of an app key cannot be more than a day away', 'Pause the app key instead.')
    """,
    # A state that is unsound is refused to the owner as well.
    rf"""
    create function {{schema}}.keep_end() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    begin
        if {UNSOUND_STATE}
        then
            {REFUSE_STATE}
        end if;
        if ({_UNTRUE}
            or {_TOO_LONG}) is not true
        then
            return new;
        end if;
        if {OWNER}
        then
            return new;
        end if;
        if {_TOO_LONG}
        then
            {TOO_LONG}
        end if;
        raise exception using
            errcode = 'restrict_violation',
            message = 'a message ends once, at the time of its end, by an attempt that counts',
            hint = 'What has ended is changed by relay retry, discard and redact alone.';
    end
    $body$
    """,
    f"""
    create trigger outbox_ends_stay
        before update on {{schema}}.outbox
        for each row when (({_DONE_AS_USUAL}) is not true)
        execute function {{schema}}.keep_end()
    """,
)

# A pause that a worker ordered for a refused credential is its own to end, by another credential; one that a person
# ordered (without a code of the platform) is not changed by workers while it holds, and any other may be made longer.
# The login stands beside the name that a worker gives itself. A pause is known by its since, and for another code it is
# another pause, also where a worker of the version before says otherwise.
PAUSES = (
    "alter table {schema}.pause add column db_user name",
    "alter table {schema}.pause alter column db_user set default session_user",
    r"""
    create function {schema}.keep_pause() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    declare
        by_owner boolean := pg_has_role(
            current_user, (select relowner from pg_class where oid = tg_relid), 'usage');
        holds boolean := tg_op <> 'INSERT' and (old.until is null or old.until > now());
    begin
        if by_owner then
            if tg_op = 'UPDATE' and new is distinct from old then
                new.db_user := session_user;
            end if;
            if tg_op = 'DELETE' then
                return old;
            end if;
            return new;
        end if;
        if tg_op = 'UPDATE' and holds and old.error_code is null and old.credential is null then
            return old;
        end if;
        if holds and (tg_op = 'DELETE' and old.credential is null
            or tg_op = 'UPDATE' and coalesce(new.until < old.until, old.until is null and new is distinct from old))
        then
            raise exception using
                errcode = 'restrict_violation',
                message = 'a pause that holds is ended by a person, or by a new credential',
                hint = 'Run: relay resume';
        end if;
        if tg_op = 'DELETE' then
            return old;
        end if;
        if tg_op = 'INSERT' or new is distinct from old then
            new.db_user := session_user;
        end if;
        if tg_op = 'INSERT' or (new.since, new.error_code) is distinct from (old.since, old.error_code) then
            new.since := clock_timestamp();
        end if;
        return new;
    end
    $body$
    """,
    # Of a transaction that was kept open, too.
    "alter table {schema}.pause alter column since set default clock_timestamp()",
    # What a worker may delete it may lock against everybody; so it has no right to, but this.
    r"""
    create function {schema}.lift_pauses(scopes text[], credentials text[]) returns setof text language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        return query
        with lifted as materialized (
            select p.scope, p.credential from pause p
            join unnest(scopes, credentials) as v (scope, credential)
                on p.scope = v.scope and p.credential = v.credential
            order by p.scope for update of p)
        delete from pause p using lifted where p.scope = lifted.scope and p.credential = lifted.credential
        returning p.scope;
    end
    $body$
    """,
    "revoke execute on function {schema}.lift_pauses(text[], text[]) from public",
    r"""
    do $body$
    declare
        grantee text;
    begin
        for grantee in
            select case when acl.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end
            from pg_class c cross join aclexplode(c.relacl) as acl
            where c.oid = cast('{schema}.pause' as regclass) and acl.privilege_type = 'DELETE'
        loop
            execute 'grant execute on function {schema}.lift_pauses(text[], text[]) to ' || grantee;
        end loop;
    end
    $body$
    """,
    r"""
    create trigger pause_is_kept
        before insert or update or delete on {schema}.pause
        for each row execute function {schema}.keep_pause()
    """,
)

UPGRADE: tuple[str, ...] = (*OWNERS_ALONE, *PAUSES)

DOWNGRADE: tuple[str, ...] = (
    "drop function {schema}.lift_pauses(text[], text[])",
    "alter table {schema}.pause alter column since set default now()",
    "drop trigger pause_is_kept on {schema}.pause",
    "drop function {schema}.keep_pause()",
    "alter table {schema}.pause drop column db_user",
    "drop trigger outbox_ends_stay on {schema}.outbox",
    "drop function {schema}.keep_end()",
    "drop trigger pace_is_near on {schema}.pace",
    "drop function {schema}.refuse_but_owner()",
)
