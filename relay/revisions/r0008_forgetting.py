"""Revision 0008, dedupe keys that are forgotten again. Frozen once released: never edit, add one.

Only where somebody says after how long, and by the owner: whoever makes keys forgotten lets messages go twice, so no
other role gets this function with ``relay roles``. A batch is one transaction, with its row in the ledger; those that
left first go first, by an index that only those pay who archive and prune.
"""

from __future__ import annotations

UPGRADE: tuple[str, ...] = (
    "create index dedupe_left on {schema}.dedupe (left_at)",
    r"""
    create function {schema}.forget_keys(before timestamptz, batch integer, actor text, reason text)
        returns integer language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        forgotten integer;
    begin
        if before > now() - interval '1 day' then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'a dedupe key is kept for a day at least after its message has left, and this is later: '
                    || before,
                hint = 'Name an earlier time, for example: now() - interval ''400 days''';
        end if;
        with gone as (
            select d.account, d.dedupe_key from dedupe d where d.left_at < before
            order by d.left_at limit batch for update skip locked
        )
        delete from dedupe d using gone where d.account = gone.account and d.dedupe_key = gone.dedupe_key;
        get diagnostics forgotten = row_count;
        if forgotten > 0 then
            perform record_action('forget', actor, reason,
                json_build_object('table', 'dedupe', 'before', before), null, forgotten);
        end if;
        return forgotten;
    end
    $body$
    """,
    "revoke execute on function {schema}.forget_keys(timestamptz, integer, text, text) from public",
)

DOWNGRADE: tuple[str, ...] = (
    "drop function {schema}.forget_keys(timestamptz, integer, text, text)",
    "drop index {schema}.dedupe_left",
)
