"""Revision 0008, what a call names. Frozen once released: never edit, add one.

From 1 to 1000 messages, each once, by an array that begins at 1 and has one dimension: the position of a message is its
index in the answer. A null among them would keep every message from being claimed (``id not in (..., null)`` is never
true), a message that is named twice could not be settled. A worker's login could insert what it likes, so a trigger
looks, and for the owner too. It is no check of the table: a call that is there already must be able to end.

What looks for messages in no open call leaves nulls out, whatever is there. And an attempt is of a call that names its
message, while both have not ended: nobody adds one to what is long over.
"""

from __future__ import annotations

from relay.revisions import r0007_rules

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

UPGRADE: tuple[str, ...] = (
    r"""
    create function {schema}.refuse_misnaming() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    begin
        if array_ndims(new.message_ids) = 1 and array_lower(new.message_ids, 1) = 1
            and cardinality(new.message_ids) <= 1000 and array_position(new.message_ids, null) is null
            and (select count(distinct id) from unnest(new.message_ids) as id) = cardinality(new.message_ids)
        then
            return new;
        end if;
        raise exception using
            errcode = 'check_violation', table = 'call', column = 'message_ids', constraint = 'call_names_each_once',
            message = 'a call names from 1 to 1000 messages, each once',
            hint = 'An array of one dimension that begins at 1, without a null.';
    end
    $body$
    """,
    r"""
    create trigger call_names_each_once
        before insert or update of message_ids on {schema}.call
        for each row execute function {schema}.refuse_misnaming()
    """,
    _LOCK_BEFORE.replace(NULLS, NO_NULLS),
    # Whoever settles closes the call first, then ends the message or not, and writes the attempt, in one transaction.
    # What was settled or has ended in this one bears its time, for a worker can give no other (``r0008_final``). One
    # written in advance would be in the way of whoever settles, and of recovery, for ever.
    r"""
    create function {schema}.refuse_foreign_attempt() returns trigger language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        if exists (
                select from call c cross join outbox o
                where c.id = new.call_id and c.message_ids[new.result_index + 1] = new.message_id
                  and o.id = new.message_id and (o.status = 'pending' or o.finished_at = now())
                  and (c.settled_at = now() or c.settled_at is null and o.finished_at = now()))
            or pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage')
        then
            return new;
        end if;
        raise exception using
            errcode = 'restrict_violation',
            message = 'an attempt is of a call that is just settled and names this message there',
            hint = 'It is written in the transaction that settles the call.';
    end
    $body$
    """,
    r"""
    create trigger attempt_is_of_its_call
        before insert on {schema}.attempt
        for each row execute function {schema}.refuse_foreign_attempt()
    """,
)

DOWNGRADE: tuple[str, ...] = (
    "drop trigger attempt_is_of_its_call on {schema}.attempt",
    "drop function {schema}.refuse_foreign_attempt()",
    _LOCK_BEFORE,
    "drop trigger call_names_each_once on {schema}.call",
    "drop function {schema}.refuse_misnaming()",
)
