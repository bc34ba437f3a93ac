"""Revision 0008, what has ended stays as it ended, whoever writes. Frozen once released: never edit, add one.

A worker has to write outcomes, and so might whoever stole its login. What it may write is bounded here: an end is of
the moment at which it is written and stays as it is, attempts count up one by one, a lease ends soon, nobody but a
person discards, and a person's pause is not cut short. Only the owner may do otherwise, and the owner's functions with
it (retry, discard, redact, archive).

``when`` of a trigger costs settling next to nothing; the function runs to refuse and for nothing else. A transaction's
own time is that of its begin, so one that was kept open is refused, too. Workers of the version before write the same.
"""

from __future__ import annotations

_FIRST = "timestamp '0001-01-02' at time zone 'UTC'"
_END = "timestamp '9999-12-31' at time zone 'UTC'"
# Settling is over in milliseconds; a server that stood still for long makes its worker begin anew.
_KEPT_OPEN = "now() < clock_timestamp() - interval '10 minutes'"

# A message that was discarded and retried keeps that code until its next outcome. When it is due counts where it is
# changed: whoever inserts may say '-infinity', and rows from before there were limits say more than that.
_MESSAGE = f"""
    old.status <> 'pending'
    or new.status <> 'pending' and (new.finished_at <> now() or {_KEPT_OPEN})
    or new.attempts - old.attempts not between 0 and 1
    or (new.available_at < ({_FIRST}) or new.available_at >= ({_END}) and new.available_at < 'infinity')
        and new.available_at is distinct from old.available_at
    or new.error_code = 'relay.discarded'
        and (new.status = 'failed' or old.error_code is distinct from new.error_code)
"""
_CALL_MADE = f"new.lease_until > now() + interval '2 days' or {_KEPT_OPEN}"
_CALL_CHANGED = f"""
    new.lease_until > now() + interval '2 days'
    or new.settled_at <> now()
    or new.settled_at is not null and {_KEPT_OPEN}
"""
_CALL_SENT = "new.sent_at < new.claimed_at or new.sent_at > now()"
_ATTEMPT = f"new.at <> now() or {_KEPT_OPEN}"
_PACE = "new.next_at > clock_timestamp() + interval '1 day'"


def _guard(name: str, event: str, table: str, condition: str, message: str, hint: str) -> str:
    return f"""
    create trigger {name}
        before {event} on {{schema}}.{table}
        for each row when ({condition})
        execute function {{schema}}.refuse_but_owner('{message}', '{hint}')
    """


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
    _guard(
        "outbox_ends_stay",
        "update",
        "outbox",
        _MESSAGE,
        "a message ends once, at the time of its end, by an attempt that counts",
        "What has ended is changed by relay retry, discard and redact alone.",
    ),
    _guard(
        "call_is_of_now",
        "insert",
        "call",
        _CALL_MADE,
        "a call is claimed now, and for two days at most",
        "Begin a new transaction.",
    ),
    _guard(
        "call_times_are_true",
        "update",
        "call",
        _CALL_CHANGED,
        "a call is settled at the time of its settling, and claimed for two days at most",
        "Begin a new transaction.",
    ),
    _guard(
        "attempt_is_of_now",
        "insert",
        "attempt",
        _ATTEMPT,
        "an attempt bears the time at which it is recorded",
        "Leave the column at out, and begin a new transaction.",
    ),
    _guard(
        "pace_is_near",
        "insert or update",
        "pace",
        _PACE,
        "the next call of an app key cannot be more than a day away",
        "Pause the app key instead.",
    ),
    # Bounded and not refused: what an answer says must be settled, even where a clock went back meanwhile.
    r"""
    create function {schema}.bound_sent_at() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    begin
        if not pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
            new.sent_at := greatest(new.claimed_at, least(new.sent_at, now()));
        end if;
        return new;
    end
    $body$
    """,
    f"""
    create trigger call_was_sent_while_claimed
        before update of sent_at on {{schema}}.call
        for each row when ({_CALL_SENT})
        execute function {{schema}}.bound_sent_at()
    """,
)

# A pause that a worker ordered for a refused credential is its own to end, by another credential; one that a person
# ordered (without a code of the platform) is not changed by workers while it holds, and any other may be made longer.
# The login stands beside the name that a worker gives itself.
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
        if tg_op = 'INSERT' or new.since is distinct from old.since then
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
    "drop trigger call_was_sent_while_claimed on {schema}.call",
    "drop function {schema}.bound_sent_at()",
    "drop trigger pace_is_near on {schema}.pace",
    "drop trigger attempt_is_of_now on {schema}.attempt",
    "drop trigger call_times_are_true on {schema}.call",
    "drop trigger call_is_of_now on {schema}.call",
    "drop trigger outbox_ends_stay on {schema}.outbox",
    "drop function {schema}.refuse_but_owner()",
)
