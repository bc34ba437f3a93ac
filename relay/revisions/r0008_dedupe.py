"""Revision 0008, dedupe keys that are remembered. Frozen once released: never edit, add one.

A key is unique in the outbox, and rows leave it: archived, or pruned. Whoever deletes one leaves its key behind in a
narrow table, in the same transaction, and an insert looks there before it is made (``r0008_inserts``): what is known
is passed over in silence, like any key that is in the outbox. Without a key none of this runs.

Between that look and the unique index, the message that had the key may be moved away. So there is a second look after
the insert, which sees what was committed meanwhile and refuses: who tries again finds the key. A transaction with one
snapshot for all of it (repeatable read) could not see that; there the index is asked, by an insert that is undone.

A row of another transaction (a restore) is never passed over: what was there once is to be there again. The functions
look at that and not the triggers, for a ``when`` is made ready anew by every statement, with a key or without.
"""

from __future__ import annotations

UPGRADE: tuple[str, ...] = (
    r"""
    create table {schema}.dedupe (
        account text not null,
        dedupe_key text not null,
        message_id bigint not null,
        left_at timestamptz not null default now(),
        constraint dedupe_pkey primary key (account, dedupe_key)
    )
    """,
    r"""
    comment on table {schema}.dedupe is
        'Dedupe keys of messages that left the outbox / 已离开发件箱的消息的去重键'
    """,
    # Definer: whoever inserts or archives has no right on this table.
    r"""
    create function {schema}.remember_key() returns trigger language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        insert into dedupe (account, dedupe_key, message_id) values (old.account, old.dedupe_key, old.id)
        on conflict on constraint dedupe_pkey do nothing;
        return null;
    end
    $body$
    """,
    r"""
    create trigger outbox_dedupe_keys_stay
        after delete on {schema}.outbox
        for each row when (old.dedupe_key is not null)
        execute function {schema}.remember_key()
    """,
    r"""
    create function {schema}.refuse_known_key() returns trigger language plpgsql security definer as $body$
    begin
        if new.created_xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id()
            and (pg_catalog.current_setting('transaction_isolation') operator(pg_catalog.<>) 'read committed'
                or exists (
                    select from {schema}.dedupe d
                    where d.account operator(pg_catalog.=) new.account
                      and d.dedupe_key operator(pg_catalog.=) new.dedupe_key))
        then
            execute pg_catalog.concat(
                'select ', pg_catalog.quote_ident(tg_table_schema), '.refuse_key_if_known($1, $2, $3)')
                using new.account, new.dedupe_key, new.id;
        end if;
        return null;
    end
    $body$
    """,
    r"""
    create function {schema}.refuse_key_if_known(account text, dedupe_key text, id bigint) returns void
        language plpgsql set search_path = pg_catalog, {schema}, pg_temp set exit_on_error = off as $body$
    begin
        if current_setting('transaction_isolation') <> 'read committed' then
            begin
                insert into dedupe (account, dedupe_key, message_id) values ($1, $2, $3);
                raise exception using errcode = 'RL001';
            exception
                when unique_violation then
                    null;
                when sqlstate 'RL001' then
                    return;
            end;
        end if;
        raise exception using
            errcode = 'serialization_failure',
            message = 'the message with this dedupe key is just being archived',
            hint = 'Begin the transaction once more: then the key is known, and the insert does nothing.';
    end
    $body$
    """,
    "revoke execute on function {schema}.refuse_key_if_known(text, text, bigint) from public",
    r"""
    create trigger outbox_dedupe_still_holds
        after insert on {schema}.outbox
        for each row when (new.dedupe_key is not null)
        execute function {schema}.refuse_known_key()
    """,
    # What was archived before there was this table, page by page (r0008_catching_up).
    r"""
    create function {schema}.remember_page(batch integer, inout reached bigint, last bigint)
        language plpgsql set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        page bigint[] := array(
            select o.id from outbox_archive o where o.id > reached and o.id <= last order by o.id limit batch);
    begin
        insert into dedupe (account, dedupe_key, message_id)
        select o.account, o.dedupe_key, o.id from outbox_archive o
        where o.id = any (page) and o.dedupe_key is not null order by o.id
        on conflict on constraint dedupe_pkey do nothing;
        reached := case when cardinality(page) < batch then last else page[cardinality(page)] end;
    end
    $body$
    """,
    "revoke execute on function {schema}.remember_page(integer, bigint, bigint) from public",
)

DOWNGRADE: tuple[str, ...] = (
    "drop function {schema}.remember_page(integer, bigint, bigint)",
    "drop trigger outbox_dedupe_still_holds on {schema}.outbox",
    "drop function {schema}.refuse_known_key()",
    "drop function {schema}.refuse_key_if_known(text, text, bigint)",
    "drop trigger outbox_dedupe_keys_stay on {schema}.outbox",
    "drop function {schema}.remember_key()",
    "drop table {schema}.dedupe",
)
