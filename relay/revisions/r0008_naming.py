"""Revision 0008, what a call and an attempt may say. Frozen once released: never edit, add one.

A call is claimed now and for two days at most, settled at the time of its settling, sent while it was claimed, and its
texts are short (see ``r0008_final`` and ``r0008_words`` for why). The owner may do otherwise.

It names from 1 to 1000 messages, each once, by an array that begins at 1 and has one dimension: the position of a
message is its index in the answer. A null among them would keep every message from being claimed (``id not in (...,
null)`` is never true), a message that is named twice could not be settled. A worker's login could insert what it likes,
so a trigger looks, and for the owner too. It is no check of the table: a call that is there already must be able to
end.

What looks for messages in no open call leaves nulls out, whatever is there. And an attempt is of a call that names its
message, while both have not ended: nobody adds one to what is long over.

A call is made in every claim, so one function looks at all of it, sets nothing and names everything with its schema;
only what it suspects is looked at by ``refuse_call``. The ``when`` of a trigger would be text that each statement reads
anew.
"""

from __future__ import annotations

from relay.revisions import r0007_rules
from relay.revisions.r0008_final import KEPT_OPEN, OWNER
from relay.revisions.r0008_words import CODE_BYTES, NAME_BYTES, SCOPE_BYTES, TEXT_BYTES, TOO_LONG, longer

NULLS = "(select unnest(c.message_ids) from call c where c.settled_at is null)"
NO_NULLS = (
    "(select m.id from call c cross join unnest(c.message_ids) as m (id) "
    "where c.settled_at is null and m.id is not null)"
)

(_LOCK_BEFORE,) = (
    text.replace("create function", "create or replace function")
    for text in r0007_rules.UPGRADE
    if "create function {schema}.lock_messages(" in text
)


def _is(operator: str) -> str:
    return f"operator(pg_catalog.{operator})"


def _size(*columns: str) -> str:
    return f"pg_catalog.octet_length(pg_catalog.concat({', '.join(f'new.{name}' for name in columns)}))"


_NOW = "pg_catalog.now()"
_LEASED = f"new.lease_until {_is('<=')} ({_NOW} {_is('+')} interval '2 days')"
_IN_TIME = f"pg_catalog.clock_timestamp() {_is('<')} ({_NOW} {_is('+')} interval '10 minutes')"
_MADE_AS_USUAL = f"""
            {_LEASED} and {_IN_TIME}
            and {_size("account", "worker")} {_is("<=")} {NAME_BYTES}
            and pg_catalog.array_ndims(new.message_ids) {_is("=")} 1
            and pg_catalog.array_lower(new.message_ids, 1) {_is("=")} 1
            and pg_catalog.cardinality(new.message_ids) {_is("<=")} 1000 and new.message_ids[1] is not null"""
_CHANGED_AS_USUAL = f"""
            {_LEASED} and (new.settled_at is null or new.settled_at {_is("=")} {_NOW} and {_IN_TIME})
            and {_size("request_id", "error_code", "sub_code", "error_message")} {_is("<=")} {CODE_BYTES}
            and new.message_ids {_is("=")} old.message_ids"""
_EACH_ONCE = "pg_catalog.cardinality(new.message_ids)"
_REFUSE = """execute pg_catalog.concat('select ', pg_catalog.quote_ident(tg_table_schema), '.refuse_call($1, $2)')
                using old, new;"""

_NAMES_TOO_LONG = longer(account=SCOPE_BYTES, worker=NAME_BYTES)
_ANSWER_TOO_LONG = longer(request_id=CODE_BYTES, error_code=CODE_BYTES, sub_code=CODE_BYTES, error_message=TEXT_BYTES)

# What is refused in the first place is what nobody may write; the rest is refused to everybody but the owner.
_REFUSE_CALL = rf"""
    create function {{schema}}.refuse_call(old {{schema}}.call, new {{schema}}.call) returns void language plpgsql
        set search_path = pg_catalog, {{schema}}, pg_temp as $body$
    declare
        is_new boolean := old is null;
    begin
        if new.message_ids is distinct from old.message_ids
            and (array_ndims(new.message_ids) = 1 and array_lower(new.message_ids, 1) = 1
                and cardinality(new.message_ids) <= 1000
                and (select count(distinct id) from unnest(new.message_ids) as id) = cardinality(new.message_ids)
            ) is not true
        then
            raise exception using
                errcode = 'check_violation', table = 'call', column = 'message_ids',
                constraint = 'call_names_each_once',
                message = 'a call names from 1 to 1000 messages, each once',
                hint = 'An array of one dimension that begins at 1, without a null.';
        end if;
        if {OWNER.replace("tg_relid", "cast('{schema}.call' as regclass)")} then
            return;
        end if;
        if is_new and ({_NAMES_TOO_LONG}) or not is_new and ({_ANSWER_TOO_LONG})
        then
            {TOO_LONG}
        end if;
        if is_new and (new.lease_until > now() + interval '2 days' or {KEPT_OPEN}) then
            raise exception using
                errcode = 'restrict_violation',
                message = 'a call is claimed now, and for two days at most',
                hint = 'Begin a new transaction.';
        end if;
        if not is_new
            and (new.lease_until > now() + interval '2 days' or new.settled_at <> now()
                or new.settled_at is not null and {KEPT_OPEN})
        then
            raise exception using
                errcode = 'restrict_violation',
                message = 'a call is settled at the time of its settling, and claimed for two days at most',
                hint = 'Begin a new transaction.';
        end if;
    end
    $body$
    """  # noqa: S608 our own texts
# When it was sent is bounded and not refused: what an answer says must be settled, even where a clock went back.
_KEEP_CALL = f"""
    create function {{schema}}.keep_call() returns trigger language plpgsql as $body$
    begin
        if tg_op {_is("=")} 'UPDATE' then
            if new.sent_at {_is("<")} new.claimed_at or new.sent_at {_is(">")} {_NOW} then
                if not pg_catalog.pg_has_role(current_user, (
                    select c.relowner from pg_catalog.pg_class c where c.oid {_is("=")} tg_relid), 'usage')
                then
                    new.sent_at := greatest(new.claimed_at, least(new.sent_at, {_NOW}));
                end if;
            end if;
            if ({_CHANGED_AS_USUAL}) is not true
            then
                {_REFUSE}
            end if;
            return new;
        end if;
        if ({_MADE_AS_USUAL}) is not true
        then
            {_REFUSE}
        elsif {_EACH_ONCE} {_is(">")} 1 then
            if {_EACH_ONCE} {_is("<>")} (
                select pg_catalog.count(distinct named.id) from pg_catalog.unnest(new.message_ids) as named (id))
            then
                {_REFUSE}
            end if;
        end if;
        return new;
    end
    $body$
    """  # noqa: S608 our own texts
# Whoever settles closes the call first, then ends the message or not, and writes the attempt, in one transaction. What
# was settled or has ended in this one bears its time, for a worker can give no other (``r0008_final``). One written in
# advance would be in the way of whoever settles, and of recovery, for ever.
_KEEP_ATTEMPT = rf"""
    create function {{schema}}.keep_attempt() returns trigger language plpgsql
        set search_path = pg_catalog, {{schema}}, pg_temp as $body$
    declare
        of_its_call boolean := exists (
            select from call c cross join outbox o
            where c.id = new.call_id and c.message_ids[new.result_index + 1] = new.message_id
              and o.id = new.message_id and (o.status = 'pending' or o.finished_at = now())
              and (c.settled_at = now() or c.settled_at is null and o.finished_at = now()));
        now_and_short boolean := (
            new.at <> now() or {KEPT_OPEN} or {longer(error_code=CODE_BYTES, error_message=TEXT_BYTES)}) is not true;
    begin
        if of_its_call and now_and_short or {OWNER} then
            return new;
        end if;
        if {longer(error_code=CODE_BYTES, error_message=TEXT_BYTES)} then
            {TOO_LONG}
        end if;
        if not now_and_short then
            raise exception using
                errcode = 'restrict_violation',
                message = 'an attempt bears the time at which it is recorded',
                hint = 'Leave the column at out, and begin a new transaction.';
        end if;
        raise exception using
            errcode = 'restrict_violation',
            message = 'an attempt is of a call that is just settled and names this message there',
            hint = 'It is written in the transaction that settles the call.';
    end
    $body$
    """

UPGRADE: tuple[str, ...] = (
    _REFUSE_CALL,
    _KEEP_CALL,
    r"""
    create trigger call_is_kept
        before insert or update on {schema}.call
        for each row execute function {schema}.keep_call()
    """,
    _LOCK_BEFORE.replace(NULLS, NO_NULLS),
    _KEEP_ATTEMPT,
    r"""
    create trigger attempt_is_kept
        before insert on {schema}.attempt
        for each row execute function {schema}.keep_attempt()
    """,
)

DOWNGRADE: tuple[str, ...] = (
    "drop trigger attempt_is_kept on {schema}.attempt",
    "drop function {schema}.keep_attempt()",
    _LOCK_BEFORE,
    "drop trigger call_is_kept on {schema}.call",
    "drop function {schema}.keep_call()",
    "drop function {schema}.refuse_call({schema}.call, {schema}.call)",
)
