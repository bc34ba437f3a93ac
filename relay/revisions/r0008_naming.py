"""Revision 0008, what a call and an attempt may say. Frozen once released: never edit, add one.

A call is claimed now and for two days at most (and not until before there were any, which is no time that every reader
can read), settled at the time of its settling, sent while it was claimed, and its
texts are short (see ``r0008_final`` and ``r0008_words`` for why). The owner may do otherwise.

It names from 1 to 1000 messages, each once, by an array that begins at 1 and has one dimension: the position of a
message is its index in the answer. A null among them would keep every message from being claimed (``id not in (...,
null)`` is never true), a message that is named twice could not be settled. A worker's login could insert what it likes,
so a trigger looks, and for the owner too. It is no check of the table: a call that is there already must be able to
end.

What looks for messages in no open call leaves nulls out, whatever is there. And an attempt is of a call that names its
message, while both have not ended: nobody adds one to what is long over.

A call is made in every claim, so one function looks at all of it, sets nothing and names everything with its schema;
the ``when`` of a trigger would be text that each statement reads anew.
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


def _within(most: int, *columns: str) -> str:
    sizes = ", ".join(f"pg_catalog.octet_length(new.{name})" for name in columns)
    return f"coalesce(greatest({sizes}), 0) {_is('<=')} {most}"


_NOW = "pg_catalog.now()"
_LEASED = f"new.lease_until {_is('<=')} ({_NOW} {_is('+')} interval '2 days') and new.lease_until {_is('>')} 'epoch'"
_IN_TIME = f"pg_catalog.clock_timestamp() {_is('<')} ({_NOW} {_is('+')} interval '10 minutes')"
_SHORT_NAMES = f"{_within(SCOPE_BYTES, 'account')} and {_within(NAME_BYTES, 'worker')}"
_SHORT_ANSWER = (
    f"{_within(CODE_BYTES, 'request_id', 'error_code', 'sub_code')} and {_within(TEXT_BYTES, 'error_message')}"
)
_NAMES = "pg_catalog.cardinality(new.message_ids)"
_AN_ARRAY = f"""
            pg_catalog.array_ndims(new.message_ids) {_is("=")} 1
            and pg_catalog.array_lower(new.message_ids, 1) {_is("=")} 1
            and {_NAMES} {_is("<=")} 1000 and new.message_ids[1] is not null"""
_EACH_ONCE = f"""
            {_NAMES} {_is("=")} (
                select pg_catalog.count(distinct named.id) from pg_catalog.unnest(new.message_ids) as named (id))"""  # noqa: S608 our own texts
_BY_OWNER = f"""pg_catalog.pg_has_role(current_user, (
                select c.relowner from pg_catalog.pg_class c where c.oid {_is("=")} tg_relid), 'usage')"""  # noqa: S608 our own texts
_REFUSE_NAMES = """raise exception using
                errcode = 'check_violation', table = 'call', column = 'message_ids',
                constraint = 'call_names_each_once',
                message = 'a call names from 1 to 1000 messages, each once',
                hint = 'An array of one dimension that begins at 1, without a null.';"""


def _unless(allowed: str, short: str, refused: str) -> str:
    """The owner is asked for last: who that is has to be looked up."""
    return f"""if ({allowed} and {short}) is not true then
            if {_BY_OWNER}
            then
                return new;
            elsif ({short}) is not true then
                {TOO_LONG}
            end if;
            raise exception using
                errcode = 'restrict_violation', message = '{refused}', hint = 'Begin a new transaction.';
        end if;"""


# When it was sent is bounded and not refused: what an answer says must be settled, even where a clock went back. To
# count what is named takes a sort; one message is named once. An if of its own, for a query in a condition makes all of
# it slow.
_KEEP_CALL = f"""
    create function {{schema}}.keep_call() returns trigger language plpgsql as $body$
    begin
        if tg_op {_is("=")} 'INSERT' or (new.message_ids {_is("=")} old.message_ids) is not true then
            if ({_AN_ARRAY}) is not true
            then
                {_REFUSE_NAMES}
            elsif {_NAMES} {_is(">")} 1 then
                if ({_EACH_ONCE}) is not true
                then
                    {_REFUSE_NAMES}
                end if;
            end if;
        end if;
        if tg_op {_is("=")} 'INSERT' then
            {_unless(f"{_LEASED} and {_IN_TIME}", _SHORT_NAMES, "a call is claimed now, and for two days at most")}
            return new;
        end if;
        if new.sent_at {_is("<")} new.claimed_at or new.sent_at {_is(">")} {_NOW} then
            if not {_BY_OWNER}
            then
                new.sent_at := greatest(new.claimed_at, least(new.sent_at, {_NOW}));
            end if;
        end if;
        {
    _unless(
        f"{_LEASED} and (new.settled_at is null or new.settled_at {_is('=')} {_NOW} and {_IN_TIME})",
        _SHORT_ANSWER,
        "a call is settled at the time of its settling, and claimed for two days at most",
    )
}
        return new;
    end
    $body$
    """
# Whoever settles closes the call first, then ends the message or not, and writes the attempt, in one transaction. What
# was settled or has ended in this one bears its time, for a worker can give no other (``r0008_final``). One written in
# advance would be in the way of whoever settles, and of recovery, for ever. Where the message goes on, both say when.
_KEEP_ATTEMPT = rf"""
    create function {{schema}}.keep_attempt() returns trigger language plpgsql
        set search_path = pg_catalog, {{schema}}, pg_temp as $body$
    declare
        of_its_call boolean := exists (
            select from call c cross join outbox o
            where c.id = new.call_id and c.message_ids[new.result_index + 1] = new.message_id
              and o.id = new.message_id and (o.status = 'pending' or o.finished_at = now())
              and (new.retry_at is null or new.retry_at = o.available_at)
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
            message = 'an attempt is of a call that is just settled and names this message there, due when it says',
            hint = 'It is written in the transaction that settles the call.';
    end
    $body$
    """

# Nobody else could settle such a one any more; now whoever looks first does.
_LEASES = """
    update {schema}.call set lease_until = now()
    where settled_at is null and (lease_until <= 'epoch' or lease_until > now() + interval '2 days')
    """

UPGRADE: tuple[str, ...] = (
    _LEASES,
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
)
