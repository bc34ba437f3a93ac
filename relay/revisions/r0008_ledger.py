"""Revision 0008, a ledger that cannot be talked into anything. Frozen once released: never edit, add one.

What an act was comes from the act itself: its time, its scope, its end, how many messages were named and which were
left alone (the acts on messages and pauses are in ``r0008_orders``). The words of the caller are kept beside it, as
``stated``. All ids are kept, ten thousand a row. Masks leave a row whoever changes them, and so does each start of a
worker; a pause that ended or was replaced is kept in ``pause_past``, which nobody writes but the trigger. Transactions
of the ledger are known, so that what was committed late is found by whoever looked before.
"""

from __future__ import annotations

from relay.revisions import r0004_views, r0007_rules

LEDGER = (
    "alter table {schema}.action alter column at set default clock_timestamp()",
    "alter table {schema}.action add column created_xid xid8",
    "alter table {schema}.action alter column created_xid set default pg_current_xact_id()",
    # The first row has what there is to say; those after it go on with the ids, and ``count`` adds up.
    r"""
    create or replace function {schema}.record_action(
        verb text, actor text, reason text, selection json, changed bigint[], number integer
    ) returns bigint language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        together constant integer := 10000;
        parts integer := greatest(1, (coalesce(cardinality(changed), 0) + together - 1) / together);
        recorded bigint;
    begin
        if octet_length(actor) > 1000 or octet_length(reason) > 10000 then
            raise exception using
                errcode = 'program_limit_exceeded',
                message = 'a name for the ledger has at most 1000 bytes, and a reason 10000';
        end if;
        insert into action (actor, action, reason, selection, message_ids, count)
        values (actor, verb, reason, selection, changed[1 : together],
            case when parts > 1 then together else number end)
        returning id into recorded;
        insert into action (actor, action, reason, selection, message_ids, count)
        select actor, verb, reason, json_build_object('continues', recorded, 'part', part, 'parts', parts),
            changed[(part - 1) * together + 1 : part * together],
            cardinality(changed[(part - 1) * together + 1 : part * together])
        from generate_series(2, parts) as part order by part;
        return recorded;
    end
    $body$
    """,
    # Facts that are null are left out. The caller's words stay as they came, if everybody can read them: an escape that
    # jsonb refuses would make each query fail that looks into this column. Of what is too long the hash is kept.
    r"""
    create function {schema}.true_selection(keys text[], facts json[], stated json) returns json language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    declare
        words constant text := cast(stated as text);
    begin
        if cast(stated as jsonb) is null then
            stated := null;
        elsif octet_length(words) > 100000 then
            stated := json_build_object('bytes', octet_length(words),
                'sha256', encode(sha256(convert_to(words, 'UTF8')), 'hex'));
        end if;
        return (
            select cast(concat('{', string_agg(concat(to_json(key), ': ', fact), ', ' order by position), '}') as json)
            from unnest(array_append(keys, 'stated'), array_append(facts, stated)) with ordinality
                as told (key, fact, position)
            where json_typeof(fact) <> 'null');
    end
    $body$
    """,
    "revoke execute on function {schema}.true_selection(text[], json[], json) from public",
)

# A pause that goes on longer by the same word of the same login is still that pause.
PAST = (
    r"""
    create table {schema}.pause_past (
        scope text not null,
        until timestamptz,
        reason text not null,
        error_code text,
        since timestamptz not null,
        by text not null,
        db_user name,
        ended_at timestamptz not null,
        ended_by name not null,
        ended text not null,
        constraint pause_past_ended_known check (ended in ('by itself', 'lifted', 'replaced'))
    )
    """,
    "create index pause_past_ended on {schema}.pause_past (ended_at)",
    r"""
    comment on table {schema}.pause_past is
        'Pauses that ended or were replaced, written by a trigger / 已结束或被替换的暂停，由触发器写入'
    """,
    r"""
    create function {schema}.remember_pause() returns trigger language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        if tg_op = 'UPDATE' and (new.reason, new.error_code, new."by", new.db_user, new.since)
            is not distinct from (old.reason, old.error_code, old."by", old.db_user, old.since)
            and coalesce(new.until >= old.until, new.until is null)
        then
            return null;
        end if;
        insert into pause_past (scope, until, reason, error_code, since, by, db_user, ended_at, ended_by, ended)
        values (old.scope, old.until, old.reason, old.error_code, old.since, old."by", old.db_user,
            least(old.until, clock_timestamp()), session_user,
            case when old.until <= now() then 'by itself' when tg_op = 'DELETE' then 'lifted' else 'replaced' end);
        return null;
    end
    $body$
    """,
    r"""
    create trigger pause_is_remembered
        after update or delete on {schema}.pause
        for each row execute function {schema}.remember_pause()
    """,
    r"""
    create trigger pause_past_is_append_only
        before update on {schema}.pause_past
        for each row execute function {schema}.refuse_change('fixed')
    """,
    r"""
    create trigger pause_past_is_not_removed
        before delete or truncate on {schema}.pause_past
        for each statement execute function {schema}.refuse_removal('never')
    """,
)

MASKS = (
    r"""
    create function {schema}.record_mask() returns trigger language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        insert into action (actor, action, reason, selection, count)
        values (session_user, 'mask', 'a mask was changed: ' || lower(tg_op),
            true_selection(array['removed', 'added'], array[
                case when tg_op in ('UPDATE', 'DELETE') then to_json(old) end,
                case when tg_op in ('UPDATE', 'INSERT') then to_json(new) end], null),
            0);
        return null;
    end
    $body$
    """,
    r"""
    create trigger mask_is_recorded
        after insert or update or delete on {schema}.mask
        for each row execute function {schema}.record_mask()
    """,
    r"""
    create function {schema}.record_masks_gone() returns trigger language plpgsql security definer
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        insert into action (actor, action, reason, selection, count)
        values (session_user, 'mask', 'all masks are removed',
            json_build_object('removed', (select json_agg(to_json(m)) from mask m)), 0);
        return null;
    end
    $body$
    """,
    r"""
    create trigger mask_is_recorded_when_emptied
        before truncate on {schema}.mask
        for each statement execute function {schema}.record_masks_gone()
    """,
)

# With which settings a worker goes to work. Its own words, under its login. A number such as 1e131071 is seven bytes
# here and as many digits in the form in which it would be kept.
STARTS = (
    r"""
    create function {schema}.record_start(worker text, version text, settings json) returns bigint language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        if octet_length(cast(settings as text)) > 20000
            or regexp_replace(cast(settings as text), E'"(\\\\.|[^"\\\\])*"', '', 'g') ~* '[0-9.]e[+]?[0-9]{3}'
            or octet_length(cast(cast(settings as jsonb) as text)) > 20000
            or octet_length(worker) > 300 or octet_length(version) > 100
        then
            raise exception using
                errcode = 'program_limit_exceeded',
                message = 'what a worker tells of its start is too long for the ledger';
        end if;
        return record_action('start', worker, 'a worker started',
            true_selection(array['version', 'settings'],
                array[to_json(version), cast(cast(settings as jsonb) as json)], null), null, 0);
    end
    $body$
    """,
    "revoke execute on function {schema}.record_start(text, text, json) from public",
    # Whoever may insert calls, without relay roles being run first.
    r"""
    do $body$
    declare
        grantee text;
    begin
        for grantee in
            select distinct quote_ident(pg_get_userbyid(acl.grantee))
            from pg_attribute a cross join aclexplode(a.attacl) as acl
            where a.attrelid = cast('{schema}.call' as regclass) and a.attname = 'message_ids'
              and acl.privilege_type = 'INSERT' and acl.grantee <> 0
        loop
            execute 'grant execute on function {schema}.record_start(text, text, json) to ' || grantee;
        end loop;
    end
    $body$
    """,
)

_ACTIONS = (
    "retry, discard, redact, reveal, prune, archive, drop, pause, resume, mask, start, compare, salt, forget / "
    "重试、关闭、清除、查看原文、清理、归档、删除归档、暂停、恢复、脱敏规则、进程启动、比对、加盐、遗忘去重键"
)
_PAUSE_COMMENTS = {
    "db_user": "Database user who ordered it / 下令的数据库用户",
    "ended_at": "When it ended; empty: not yet, or by itself with until / 结束时间；空表示未结束或按期结束",
    "ended_by": "Database user who ended or replaced it / 结束或替换它的数据库用户",
    "ended": "by itself, lifted, replaced; empty: see in_force / 结束方式：自行到期、解除、被替换",
}

VIEWS = (
    r"""
    create or replace view {schema}.audit_action with (security_barrier) as
    select id, at, actor, db_user, action, {schema}.mask_text(reason) as reason, selection, message_ids, count,
        created_xid
    from {schema}.action
    """,
    r"""
    create or replace view {schema}.audit_pause with (security_barrier) as
    select scope, since, nullif(until, 'infinity') as until, until is null or until > now() as in_force,
        {schema}.mask_text(reason) as reason, error_code, by, db_user,
        cast(null as timestamptz) as ended_at, cast(null as name) as ended_by, cast(null as text) as ended
    from {schema}.pause
    union all
    select scope, since, nullif(until, 'infinity'), false, {schema}.mask_text(reason), error_code, by, db_user,
        ended_at, ended_by, ended
    from {schema}.pause_past
    """,
    f"comment on column {{schema}}.audit_action.action is '{_ACTIONS}'",
    "comment on column {schema}.audit_action.created_xid is 'Its transaction / 所属事务'",
    "comment on column {schema}.audit_action.message_ids is "
    "'Which messages, ten thousand a row / 涉及的消息，每行至多一万条'",
    *(f"comment on column {{schema}}.audit_pause.{name} is '{words}'" for name, words in _PAUSE_COMMENTS.items()),
)

UPGRADE: tuple[str, ...] = (*LEDGER, *PAST, *MASKS, *STARTS, *VIEWS)


def _as_before(begin: str, statements: tuple[str, ...]) -> str:
    """How an earlier revision wrote what begins like this."""
    (found,) = (text for text in statements if begin in text)
    return found.replace("create function", "create or replace function")


DOWNGRADE: tuple[str, ...] = (
    "drop view {schema}.audit_pause",
    "drop view {schema}.audit_action",
    _as_before("create view {schema}.audit_action", r0004_views.UPGRADE),
    _as_before("create view {schema}.audit_pause", r0004_views.UPGRADE),
    "drop function {schema}.record_start(text, text, json)",
    "drop trigger mask_is_recorded_when_emptied on {schema}.mask",
    "drop function {schema}.record_masks_gone()",
    "drop trigger mask_is_recorded on {schema}.mask",
    "drop function {schema}.record_mask()",
    "drop trigger pause_is_remembered on {schema}.pause",
    "drop function {schema}.remember_pause()",
    "drop table {schema}.pause_past",
    _as_before("create function {schema}.record_action(", r0007_rules.UPGRADE),
    "drop function {schema}.true_selection(text[], json[], json)",
    "alter table {schema}.action drop column created_xid",
    "alter table {schema}.action alter column at set default now()",
)
