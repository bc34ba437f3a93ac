"""Revision 0004, functions: what an operator may do with SQL alone, and no right on any table. Frozen.

Security definer, so the names in them are looked up in fixed places and nobody may call them unless allowed to. The
same three steps as the commands: lock the messages that are in no open call; with a younger snapshot, change those of
the locked that may be changed; write the ledger. That snapshot is why they want READ COMMITTED, as the claim does.
"""

from __future__ import annotations

UPGRADE = (
    r"""
    create function {schema}.lock_messages(ids bigint[]) returns bigint[] language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception using
                errcode = 'invalid_transaction_state',
                message = 'this needs a transaction in READ COMMITTED';
        end if;
        return array(
            select id from outbox
            where id = any (ids) and id not in (select unnest(message_ids) from call where settled_at is null)
            order by id
            for update);
    end
    $body$
    """,
    r"""
    create function {schema}.record_action(verb text, reason text, selection json, changed bigint[]) returns void
        language plpgsql set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        insert into action (actor, action, reason, selection, message_ids, count)
        values (session_user, verb, reason, selection, changed, coalesce(cardinality(changed), 0));
    end
    $body$
    """,
    r"""
    create function {schema}.retry(ids bigint[], reason text) returns bigint[] language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        locked bigint[] := lock_messages(ids);
        changed bigint[];
    begin
        with retried as (
            update outbox set status = 'pending', attempts = 0, call_id = null, result_index = null,
                finished_at = null, available_at = now()
            where id = any (locked)
              and (status = 'failed' or status = 'pending' and available_at = 'infinity')
              and id not in (select unnest(message_ids) from call where settled_at is null)
              and cast(content as text) <> '{"redacted": true}'
              and (deliver_before > now()) is not false
            returning id
        )
        select array_agg(id order by id) into changed from retried;
        if changed is not null then
            perform record_action('retry', reason, json_build_object('ids', ids), changed);
        end if;
        return coalesce(changed, '{}');
    end
    $body$
    """,
    r"""
    create function {schema}.discard(ids bigint[], reason text) returns bigint[] language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        locked bigint[] := lock_messages(ids);
        changed bigint[];
    begin
        with discarded as (
            update outbox set status = 'failed', error_code = 'relay.discarded', error_message = reason,
                finished_at = coalesce(finished_at, now())
            where id = any (locked)
              and (status = 'pending' or status = 'failed' and error_code is distinct from 'relay.discarded')
              and id not in (select unnest(message_ids) from call where settled_at is null)
            returning id
        )
        select array_agg(id order by id) into changed from discarded;
        if changed is not null then
            perform record_action('discard', reason, json_build_object('ids', ids), changed);
        end if;
        return coalesce(changed, '{}');
    end
    $body$
    """,
    r"""
    create function {schema}.pause_scope(scope text, until timestamptz, reason text) returns void language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        insert into pause (scope, until, reason, by) values (scope, until, reason, session_user)
        on conflict on constraint pause_pkey do update set until = excluded.until, reason = excluded.reason,
            error_code = null, credential = null, since = excluded.since, by = excluded.by;
        perform record_action('pause', reason, json_build_object('scope', scope, 'until', until), null);
    end
    $body$
    """,
    r"""
    create function {schema}.resume_scope(scope text, reason text) returns boolean language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        delete from pause p where p.scope = resume_scope.scope and (p.until is null or p.until > now());
        if not found then
            return false;
        end if;
        perform record_action('resume', reason, json_build_object('scope', scope), null);
        return true;
    end
    $body$
    """,
    r"""
    revoke execute on function {schema}.lock_messages(bigint[]), {schema}.record_action(text, text, json, bigint[]),
        {schema}.retry(bigint[], text), {schema}.discard(bigint[], text),
        {schema}.pause_scope(text, timestamptz, text), {schema}.resume_scope(text, text) from public
    """,
)

DOWNGRADE = (
    "drop function {schema}.resume_scope(text, text)",
    "drop function {schema}.pause_scope(text, timestamptz, text)",
    "drop function {schema}.discard(bigint[], text)",
    "drop function {schema}.retry(bigint[], text)",
    "drop function {schema}.record_action(text, text, json, bigint[])",
    "drop function {schema}.lock_messages(bigint[])",
)
