"""Revision 0008, what is left to be done afterwards. Frozen once released: never edit, add one.

A migration that touched each row would hold everybody up. So it writes down what is left, step by step and up to which
id, and ``catch_up`` does it in small batches, each a transaction of its own: ``relay migrate`` calls it until all is
done, and an interrupted one goes on where it was. Rows that somebody has locked are not waited for; the step stays
before the first of them.

What is redacted comes first, with its ledger: both have to have the same hash. Messages move to the archive meanwhile
and never back, so the archive comes after the outbox. Its index comes last (``r0008_lookups``), when rows stay as they
are.

A hash that changes is evidence that changes: the ledger says once for each step that it begins, and up to which id. A
step that has not begun is at -1.
"""

from __future__ import annotations

UPGRADE: tuple[str, ...] = (
    r"""
    create table {schema}.catching_up (
        step text not null,
        reached bigint not null,
        last bigint not null,
        constraint catching_up_pkey primary key (step)
    )
    """,
    r"""
    comment on table {schema}.catching_up is
        'What a migration left to be done, up to which id / 迁移后尚待完成的步骤，及其截止编号'
    """,
    r"""
    insert into {schema}.catching_up (step, reached, last)
    select step, -1, last from (
        select 'keys' as step, max(id) as last from {schema}.outbox_archive
        union all
        select 'ledger', max(id) from {schema}.action
        union all
        select 'outbox', max(id) from {schema}.outbox
        union all
        select 'archive', greatest((select max(id) from {schema}.outbox), (select max(id) from {schema}.outbox_archive))
    ) as steps
    where last is not null
    """,
    # One redaction at a time: the plain hashes of what it removed, in the ledger and beside the tombstones.
    r"""
    create function {schema}.salt_ledger(reached bigint, last bigint) returns bigint language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        entry bigint := (select min(a.id) from action a where a.id > reached and a.id <= last
                         and a.action = 'redact' and a.selection -> 'sha256' is not null);
        salted jsonb;
        door text := coalesce(current_setting('relay.salting', true), '');
    begin
        if entry is null then
            return last;
        end if;
        perform set_config('relay.salting', 'on', true);
        with told as materialized (
            select cast(removed.key as bigint) as id, removed.value as hashes,
                uuid_send(gen_random_uuid()) as salt
            from action a cross join lateral json_each(a.selection -> 'sha256') as removed
            where a.id = entry
        ),
        hot as (
            update outbox o set content_salt = '', content_sha256 = sha256(told.salt || o.content_sha256)
            from told where o.id = told.id and o.content_salt is null
                and cast(o.content as text) = '{"redacted": true}'
                and encode(o.content_sha256, 'hex') = told.hashes ->> 'content'
        ),
        archived as (
            update outbox_archive o set content_salt = '', content_sha256 = sha256(told.salt || o.content_sha256)
            from told where o.id = told.id and o.content_salt is null
                and cast(o.content as text) = '{"redacted": true}'
                and encode(o.content_sha256, 'hex') = told.hashes ->> 'content'
        )
        select jsonb_object_agg(told.id, (
            select jsonb_object_agg(plain.key, encode(sha256(told.salt || decode(plain.value, 'hex')), 'hex'))
            from json_each_text(told.hashes) as plain))
        into salted from told;
        update action a set selection = cast((cast(a.selection as jsonb) - 'sha256')
            || jsonb_build_object('salted_sha256', coalesce(salted, '{}')) as json)
        where a.id = entry;
        perform set_config('relay.salting', door, true);
        return entry;
    end
    $body$
    """,
    r"""
    create function {schema}.salt_page(of_table text, batch integer, inout reached bigint, last bigint)
        language plpgsql set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        page bigint[];
        free bigint[];
        locked bigint;
    begin
        execute format('select array(select o.id from %I o where o.id > $1 and o.id <= $2 order by o.id limit $3)',
            of_table) into page using reached, last, batch;
        execute format('select array(select o.id from %I o where o.id = any ($1) and o.content_salt is null '
            'order by o.id for update skip locked)', of_table) into free using page;
        perform salt_messages(free);
        execute format('select min(o.id) from %I o where o.id = any ($1) and o.content_salt is null', of_table)
            into locked using page;
        reached := case when locked is not null then locked - 1
            when cardinality(page) < batch then last else page[cardinality(page)] end;
    end
    $body$
    """,
    r"""
    create function {schema}.record_salting(step text, last bigint) returns void language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        number bigint := (select l.rows from left_to_do() l where l.step = record_salting.step);
    begin
        if number > 0 then
            insert into action (actor, action, reason, selection, count)
            values (session_user, 'salt', 'hashes of a version before 0008 get a salt',
                json_build_object('table', step, 'last_id', last), number);
        end if;
    end
    $body$
    """,
    # One batch of the first step there is, null where none is left. ``stuck``: somebody has the next row locked.
    r"""
    create function {schema}.catch_up(batch integer,
        out step text, out reached bigint, out last bigint, out stuck boolean
    ) language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        before bigint;
    begin
        lock table catching_up in share row exclusive mode;
        select c.step, c.reached, c.last into step, before, last from catching_up c
        order by array_position(array['keys', 'ledger', 'outbox', 'archive', 'index'], c.step) limit 1;
        if step is null then
            return;
        end if;
        if before < 0 and step in ('ledger', 'outbox', 'archive') then
            perform record_salting(step, last);
        end if;
        case step
            when 'keys' then reached := remember_page(batch, before, last);
            when 'ledger' then reached := salt_ledger(before, last);
            when 'outbox' then reached := salt_page('outbox', batch, before, last);
            when 'archive' then reached := salt_page('outbox_archive', batch, before, last);
            when 'index' then reached := index_month(last);
        end case;
        stuck := reached <= before and reached < last;
        if reached >= last then
            delete from catching_up c where c.step = catch_up.step;
        else
            update catching_up c set reached = catch_up.reached where c.step = catch_up.step;
        end if;
    end
    $body$
    """,
    # What relay check asks: how many messages each step has yet to do. The ledger's are redactions.
    r"""
    create function {schema}.left_to_do() returns table (step text, rows bigint) language sql stable security definer
        set search_path = pg_catalog, {schema}, pg_temp as $body$
        select c.step, case c.step
            when 'keys' then (
                select count(*) from outbox_archive o
                where o.id > c.reached and o.id <= c.last and o.dedupe_key is not null)
            when 'ledger' then (
                select count(*) from action a where a.id > c.reached and a.id <= c.last
                and a.action = 'redact' and a.selection -> 'sha256' is not null)
            when 'outbox' then (
                select count(*) from outbox o where o.id > c.reached and o.id <= c.last and o.content_salt is null)
            when 'archive' then (
                select count(*) from outbox_archive o
                where o.id > c.reached and o.id <= c.last and o.content_salt is null)
            when 'index' then c.last - c.reached
        end
        from catching_up c
    $body$
    """,
    r"""
    revoke execute on function {schema}.salt_ledger(bigint, bigint),
        {schema}.salt_page(text, integer, bigint, bigint), {schema}.catch_up(integer), {schema}.left_to_do(),
        {schema}.record_salting(text, bigint) from public
    """,
)

DOWNGRADE: tuple[str, ...] = (
    "drop function {schema}.left_to_do()",
    "drop function {schema}.catch_up(integer)",
    "drop function {schema}.record_salting(text, bigint)",
    "drop function {schema}.salt_page(text, integer, bigint, bigint)",
    "drop function {schema}.salt_ledger(bigint, bigint)",
    "drop table {schema}.catching_up",
)
