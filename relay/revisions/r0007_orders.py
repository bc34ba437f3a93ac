"""Revision 0007, orders: what a person has done to messages and pauses, by the name that the person gives. Frozen.

Security definer, as those of revision 0004, whose short forms stay what they were and are now the same order in the
name of the login. Each gives back the id of its row in the ledger, null where nothing was changed and so nothing is
recorded; beside that name the ledger always has the login itself.
"""

from __future__ import annotations

UPGRADE = (
    # Due now, or one after another, so many a second. The error stays: it is that of the last outcome.
    r"""
    create function {schema}.retry(
        ids bigint[], reason text, actor text, selection json, per_second double precision,
        out changed bigint[], out left_alone bigint[], out why_not text[], out action bigint
    ) language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        if per_second <= 0 then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'per_second must be more than 0';
        end if;
        select m.chosen, m.left_alone, m.why_not into changed, left_alone, why_not
        from lock_messages('retry', ids) as m;
        if changed = '{}' then
            return;
        end if;
        update outbox o set status = 'pending', attempts = 0, call_id = null, result_index = null, finished_at = null,
            available_at = now() + make_interval(secs => coalesce((named.position - 1) / per_second, 0))
        from unnest(changed) with ordinality as named (id, position)
        where o.id = named.id;
        action := record_action('retry', actor, reason, selection, changed, cardinality(changed));
    end
    $body$
    """,
    r"""
    create function {schema}.discard(
        ids bigint[], reason text, actor text, selection json,
        out changed bigint[], out left_alone bigint[], out why_not text[], out action bigint
    ) language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        select m.chosen, m.left_alone, m.why_not into changed, left_alone, why_not
        from lock_messages('discard', ids) as m;
        if changed = '{}' then
            return;
        end if;
        update outbox o set status = 'failed', error_code = 'relay.discarded', error_message = reason,
            finished_at = coalesce(o.finished_at, now())
        where o.id = any (changed);
        action := record_action('discard', actor, reason, selection, changed, cardinality(changed));
    end
    $body$
    """,
    # A person has the last word: the end may come sooner than before, and no new credential lifts this pause.
    r"""
    create function {schema}.pause_scope(scope text, until timestamptz, reason text, actor text, selection json)
        returns bigint language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        insert into pause (scope, until, reason, by) values (scope, until, reason, actor)
        on conflict on constraint pause_pkey do update set until = excluded.until, reason = excluded.reason,
            error_code = null, credential = null, since = excluded.since, by = excluded.by;
        return record_action('pause', actor, reason, selection, null, 0);
    end
    $body$
    """,
    r"""
    create function {schema}.resume_scope(scope text, reason text, actor text, selection json)
        returns bigint language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        delete from pause p where p.scope = resume_scope.scope and (p.until is null or p.until > now());
        if not found then
            return null;
        end if;
        return record_action('resume', actor, reason, selection, null, 0);
    end
    $body$
    """,
    r"""
    revoke execute on function {schema}.retry(bigint[], text, text, json, double precision),
        {schema}.discard(bigint[], text, text, json), {schema}.pause_scope(text, timestamptz, text, text, json),
        {schema}.resume_scope(text, text, text, json) from public
    """,
    r"""
    create or replace function {schema}.retry(ids bigint[], reason text) returns bigint[] language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        return (retry(ids, reason, session_user, json_build_object('ids', ids), null)).changed;
    end
    $body$
    """,
    r"""
    create or replace function {schema}.discard(ids bigint[], reason text) returns bigint[] language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        return (discard(ids, reason, session_user, json_build_object('ids', ids))).changed;
    end
    $body$
    """,
    r"""
    create or replace function {schema}.pause_scope(scope text, until timestamptz, reason text) returns void
        language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        perform pause_scope(scope, until, reason, session_user, json_build_object('scope', scope, 'until', until));
    end
    $body$
    """,
    r"""
    create or replace function {schema}.resume_scope(scope text, reason text) returns boolean language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        return resume_scope(scope, reason, session_user, json_build_object('scope', scope)) is not null;
    end
    $body$
    """,
)

DOWNGRADE = (
    "drop function {schema}.resume_scope(text, text, text, json)",
    "drop function {schema}.pause_scope(text, timestamptz, text, text, json)",
    "drop function {schema}.discard(bigint[], text, text, json)",
    "drop function {schema}.retry(bigint[], text, text, json, double precision)",
)
