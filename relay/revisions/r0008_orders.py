"""Revision 0008, orders: what a person looked at is what is changed. Frozen once released: never edit, add one.

``why_not`` tells the version of each row, and who changes messages may give back those that were seen: under the lock a
row of another version is left alone, so that two people who look at the same failures retry each of them once. The
version is the transaction that wrote the row. A claim only locks, so it is no change; a message in an open call is left
alone as ever. A pause is known by its ``since`` in the same way.

What an order recorded is told by itself (``r0008_ledger``), also how many were left alone for which reason. Who said
what was seen and changed nothing, of messages or of a pause, is in the ledger all the same: it was an attempt that
somebody else forestalled.

Functions with one more parameter, or one more column, are other functions: whoever might call the former ones may call
these, without ``relay roles`` being run first.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.revisions import r0007_orders, r0007_rules
from relay.revisions.r0008_naming import NO_NULLS

# By its raw xmin, which freezing keeps.
_VERSION = {
    "out age_seconds double precision": "out age_seconds double precision, out version bigint",
    "cast(extract(epoch from now() - m.created_at) as double precision)": (
        "cast(extract(epoch from now() - m.created_at) as double precision), cast(cast(m.xmin as text) as bigint)"
    ),
    "o.created_at, false as archived": "o.created_at, o.xmin, false as archived",
    "a.created_at, true": "a.created_at, a.xmin, true",
    # The size is known without reading: thousands of large contents are not fetched to see that they are there.
    """cast(m.content as text) = '{"redacted": true}'""": (
        """case when pg_column_size(m.content) < 100 then cast(m.content as text) = '{"redacted": true}' end"""
    ),
}

# What is in an open call is not locked: that would hold up the worker that settles it. The archive comes last, for
# waiting for an archiver's batch may have been in vain: what it moved is seen there. The versions are those of the
# second look, which is younger than the locks. Why a message cannot be changed at all tells more than that it changed.
_LOCK = r"""
    create function {schema}.lock_messages(
        verb text, ids bigint[], versions bigint[] default null,
        out chosen bigint[], out left_alone bigint[], out why_not text[]
    ) language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp set plan_cache_mode = 'force_custom_plan' as $body$
    declare
        locked bigint[];
    begin
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception using
                errcode = 'invalid_transaction_state',
                message = 'this needs a transaction in READ COMMITTED';
        end if;
        if cardinality(versions) <> coalesce(cardinality(ids), 0) then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = format('there must be a version for each id: %s ids and %s versions were given',
                    coalesce(cardinality(ids), 0), cardinality(versions)),
                hint = 'Take both from why_not(verb, ids), in one order; or leave versions out.';
        end if;
        locked := array(
            select o.id from outbox o
            where o.id = any (ids)
              and o.id not in <open>
            order by o.id
            for update);
        if verb = 'redact' then
            locked := locked || array(
                select a.id from outbox_archive a where a.id = any (ids) order by a.id for update);
        end if;
        -- Neither refused nor locked: its call was settled between the two looks, and the next claim may have it.
        select coalesce(array_agg(m.id order by m.id) filter (where m.reason is null), '{}'),
            coalesce(array_agg(m.id order by m.id) filter (where m.reason is not null), '{}'),
            coalesce(array_agg(m.reason order by m.id) filter (where m.reason is not null), '{}')
        into chosen, left_alone, why_not
        from (
            select looked.id, case
                when looked.why_not is not null then looked.why_not
                when versions is not null and seen.looks is distinct from array[looked.version] then
                    'it has changed since you looked'
                when looked.id not in (select unnest(locked)) then 'it is just changing: try again'
            end as reason
            from why_not(verb, ids) as looked
            left join (
                select given.id, array_agg(distinct given.version) as looks
                from unnest(ids, versions) as given (id, version)
                group by given.id) as seen on seen.id = looked.id
        ) as m;
    end
    $body$
    """.replace("<open>", NO_NULLS)

# In which call it is is told to who acts, and counted together.
_TRUE_MESSAGES = """true_selection(
            array['given', 'changed', 'left_alone', 'left_alone_why', <name>],
            array[to_json(cardinality(ids)), to_json(cardinality(changed)),
                to_json(nullif(left_alone[1 : 10000], '{}')),
                (select json_object_agg(w.why, w.number order by w.why)
                from (
                    select case when told.why like 'it is in flight%' then 'it is in flight' else told.why end as why,
                        count(*) as number
                    from unnest(why_not) as told (why) group by 1) as w),
                <fact>],
            selection)"""
# Why a message had failed goes with its error; one that was never in a call has no attempt that tells it.
_TRUE_RETRY = _TRUE_MESSAGES.replace("<name>", "'per_second'").replace("<fact>", "to_json(per_second)")
_TRUE_DISCARD = _TRUE_MESSAGES.replace("<name>", "'was'").replace("<fact>", "was")
_NOTHING_TO_TELL = "changed = '{}' and (versions is null or left_alone = '{}')"

_RETRY = r"""
    create function {schema}.retry(
        ids bigint[], reason text, actor text, selection json, per_second double precision,
        versions bigint[] default null,
        out changed bigint[], out left_alone bigint[], out why_not text[], out action bigint
    ) language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        moment timestamptz;
    begin
        if per_second <= 0 or per_second >= 'infinity' then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'per_second must be a number and more than 0';
        end if;
        if per_second * 3155760000.0 < cardinality(ids) then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'with so low a per_second the last message would be due in more than a hundred years';
        end if;
        select m.chosen, m.left_alone, m.why_not into changed, left_alone, why_not
        from lock_messages('retry', ids, versions) as m;
        if <nothing> then
            return;
        end if;
        moment := clock_timestamp();
        update outbox o set status = 'pending', attempts = 0, call_id = null, result_index = null, finished_at = null,
            available_at = moment + make_interval(secs => coalesce((named.position - 1) / per_second, 0))
        from unnest(changed) with ordinality as named (id, position)
        where o.id = named.id;
        action := record_action('retry', actor, reason, <true>, changed, cardinality(changed));
    end
    $body$
    """.replace("<nothing>", _NOTHING_TO_TELL).replace("<true>", _TRUE_RETRY)

_DISCARD = r"""
    create function {schema}.discard(
        ids bigint[], reason text, actor text, selection json, versions bigint[] default null,
        out changed bigint[], out left_alone bigint[], out why_not text[], out action bigint
    ) language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        moment timestamptz;
        was json;
    begin
        select m.chosen, m.left_alone, m.why_not into changed, left_alone, why_not
        from lock_messages('discard', ids, versions) as m;
        if <nothing> then
            return;
        end if;
        moment := clock_timestamp();
        select json_object_agg(w.code, w.ids order by w.code) into was
        from (
            select left(o.error_code, 200) as code, json_agg(o.id order by o.id) as ids
            from outbox o
            where o.id = any (changed[1 : 10000]) and o.error_code is not null
            group by 1) as w;
        update outbox o set status = 'failed', error_code = 'relay.discarded', error_message = reason,
            finished_at = coalesce(o.finished_at, moment)
        where o.id = any (changed);
        action := record_action('discard', actor, reason, <true>, changed, cardinality(changed));
    end
    $body$
    """.replace("<nothing>", _NOTHING_TO_TELL).replace("<true>", _TRUE_DISCARD)

# What is in the ledger of a pause that was left alone. Nothing is given back but null, as where nothing was recorded.
_FORESTALLED = r"""if seen is not null then
                perform record_action('<verb>', actor, reason,
                    true_selection(array['scope', 'left_alone_why'],
                        array[to_json(scope), json_build_object('it has changed since you looked', 1)], selection),
                    null, 0);
            end if;
            return null;"""

# ``seen``: the since of the pause that stands there, or that stood there until it was over by itself; '-infinity': none
# is in force. Who saw one that somebody has ended meanwhile is not to bring it back.
_PAUSE = r"""
    create function {schema}.pause_scope(
        scope text, until timestamptz, reason text, actor text, selection json, seen timestamptz default null
    ) returns bigint language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        if until = 'infinity' then
            until := null;
        end if;
        if until < now() or until >= timestamp '9999-12-31' at time zone 'UTC' then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'a pause must end between now and the year 9999',
                hint = 'null: until somebody resumes it.';
        end if;
        if seen > '-infinity' then
            update pause p set until = pause_scope.until, reason = pause_scope.reason, error_code = null,
                credential = null, since = clock_timestamp(), by = actor
            where p.scope = pause_scope.scope and p.since = seen;
        else
            insert into pause (scope, until, reason, by) values (scope, until, reason, actor)
            on conflict on constraint pause_pkey do update set until = excluded.until, reason = excluded.reason,
                error_code = null, credential = null, since = excluded.since, by = excluded.by
                where seen is null or pause.until <= now();
        end if;
        if not found then
            <forestalled>
        end if;
        return record_action('pause', actor, reason,
            true_selection(array['scope', 'until'], array[to_json(scope), to_json(until)], selection), null, 0);
    end
    $body$
    """.replace("<forestalled>", _FORESTALLED.replace("<verb>", "pause"))

_RESUME = r"""
    create function {schema}.resume_scope(
        scope text, reason text, actor text, selection json, seen timestamptz default null
    ) returns bigint language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        ended pause;
    begin
        delete from pause p
        where p.scope = resume_scope.scope and (p.until is null or p.until > now())
          and (seen is null or p.since = seen)
        returning * into ended;
        if not found then
            <forestalled>
        end if;
        return record_action('resume', actor, reason,
            true_selection(array['scope', 'until', 'since', 'by'],
                array[to_json(scope), to_json(ended.until), to_json(ended.since), to_json(ended."by")], selection),
            null, 0);
    end
    $body$
    """.replace("<forestalled>", _FORESTALLED.replace("<verb>", "resume"))

# The short forms have nothing to state.
_SHORT = tuple(
    text.replace(stated, "null")
    for text in r0007_orders.UPGRADE
    for stated in (
        "json_build_object('ids', ids)",
        "json_build_object('scope', scope, 'until', until)",
        "json_build_object('scope', scope)",
    )
    if stated in text
)

# What each of them was and is. Where the parameters stay the same, the former one steps aside while its place is taken.
_ASIDE = "why_not_before"
_WAS_AND_IS = {
    "why_not(text, bigint[])": "why_not(text, bigint[])",
    "lock_messages(text, bigint[])": "lock_messages(text, bigint[], bigint[])",
    "retry(bigint[], text, text, json, double precision)": (
        "retry(bigint[], text, text, json, double precision, bigint[])"
    ),
    "discard(bigint[], text, text, json)": "discard(bigint[], text, text, json, bigint[])",
    "pause_scope(text, timestamptz, text, text, json)": "pause_scope(text, timestamptz, text, text, json, timestamptz)",
    "resume_scope(text, text, text, json)": "resume_scope(text, text, text, json, timestamptz)",
}
_MAY_CALL = r"""
    do $body$
    declare
        may record;
    begin
        for may in
            select v.newer, case when acl.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end
                as grantee, case when acl.is_grantable then ' with grant option' else '' end as how
            from (values <pairs>) as v (former, newer)
            join pg_proc p on p.oid = cast(v.former as regprocedure)
            cross join aclexplode(p.proacl) as acl
            where acl.grantee <> p.proowner
        loop
            execute concat('grant execute on function ', may.newer, ' to ', may.grantee, may.how);
        end loop;
    end
    $body$
    """


def _instead(former_to_newer: Mapping[str, str], functions: tuple[str, ...]) -> tuple[str, ...]:
    """These functions in the place of the former ones, for whoever might call those."""
    aside = {
        former if former != newer else former.replace("why_not(", f"{_ASIDE}("): newer
        for former, newer in former_to_newer.items()
    }
    pairs = ", ".join(f"('{{schema}}.{former}', '{{schema}}.{newer}')" for former, newer in aside.items())
    newer = ", ".join(f"{{schema}}.{name}" for name in aside.values())
    return (
        f"alter function {{schema}}.why_not(text, bigint[]) rename to {_ASIDE}",
        *functions,
        f"revoke execute on function {newer} from public",
        _MAY_CALL.replace("<pairs>", pairs),
        *(f"drop function {{schema}}.{former}" for former in aside),
    )


def _of(statements: tuple[str, ...], *names: str) -> tuple[str, ...]:
    """How an earlier revision created these."""
    return tuple(text for name in names for text in statements if f"create function {{schema}}.{name}(" in text)


(_WHY_NOT_BEFORE,) = _of(r0007_rules.UPGRADE, "why_not")
_WHY_NOT = _WHY_NOT_BEFORE
for _before, _now in _VERSION.items():
    _WHY_NOT = _WHY_NOT.replace(_before, _now)

UPGRADE: tuple[str, ...] = (
    *_instead(_WAS_AND_IS, (_WHY_NOT, _LOCK, _RETRY, _DISCARD, _PAUSE, _RESUME)),
    *_SHORT,
)

DOWNGRADE: tuple[str, ...] = (
    *(text for text in r0007_orders.UPGRADE if "create or replace function" in text),
    *_instead(
        {newer: former for former, newer in _WAS_AND_IS.items()},
        (
            *_of(r0007_rules.UPGRADE, "why_not", "lock_messages"),
            *_of(r0007_orders.UPGRADE, "retry", "discard", "pause_scope", "resume_scope"),
        ),
    ),
)
