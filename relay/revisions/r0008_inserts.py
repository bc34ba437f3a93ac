r"""Revision 0008, what every insert goes through. Frozen once released: never edit, add one.

One trigger a row, and one function: limits, remembered dedupe keys, hash and id, in this order. It was four triggers,
and seven checks of the table beside them. A check, and the ``when`` of a trigger, is text in the catalogue that every
statement reads anew, whatever it inserts: the checks alone were a quarter of what an insert costs. What stands in a
function is read once a session. So the checks are here; they refuse with the same SQLSTATE and the same names.

The first condition is what nearly every message passes, in as few steps as it takes, for each step is made ready anew
in every transaction. Only what it suspects is looked at exactly, and only what that refuses is looked at by
``refuse_message``, which says which column it is, its size and its limit. No SET clause, which would cost as much as
the rest: names are qualified. Security definer, because whoever inserts has no right to read.

What may be inserted may not be undone by an update: texts cannot change (``outbox_facts_stay``), and what the relay
changes has a trigger of its own (``outbox_ends_stay``), which asks what the other checks asked.

A row of another transaction is a row of a dump: it was taken once, so limits are not for it, nor is its key passed
over; the hash of a content that was removed is what proves it, and stays. An application has no right to name the
transaction.
"""

from __future__ import annotations

from relay.revisions import r0004
from relay.revisions.r0008_limits import ASCII_CONTROLS, BLANK, BYTES, CONTROLS, END, FIRST, JSON_BYTES, NAMES

_TOMBSTONE = """'{"redacted": true}'"""
_RARE = ("target_group", "target_app_key", "producer")
_KEYS = ("ordering_key", "dedupe_key")
_LEAST_LIMIT = min(BYTES.values())
_MAX_TOPIC_CHARACTERS = 256
# PostgreSQL would refuse null itself, and write the row, content and all, into its error and its log.
_NEVER_NULL = ("topic", "content", "account", "available_at", "status", "attempts")
_STATES_NEVER_NULL = ("available_at", "status", "attempts")


def _is(operator: str) -> str:
    return f"operator(pg_catalog.{operator})"


def _size(value: str) -> str:
    return f"pg_catalog.octet_length({value})"


def _text(name: str) -> str:
    return f"cast(new.{name} as pg_catalog.text)"


def _any(*conditions: str) -> str:
    return "\n            or ".join(conditions)


_UNSOUND = {
    "outbox_status_known": f"new.status {_is('<>')} all (array['pending', 'done', 'failed'])",
    "outbox_attempts_not_negative": f"new.attempts {_is('<')} 0",
    "outbox_finished_when_not_pending": (f"(new.status {_is('=')} 'pending') {_is('<>')} (new.finished_at is null)"),
    "outbox_done_names_its_call": (
        f"new.status {_is('=')} 'done' and (new.call_id is null or new.result_index is null)"
    ),
}
_UNSOUND_TEXTS = {
    "outbox_topic_within_limit": (
        f"pg_catalog.length(new.topic) {_is('>')} {_MAX_TOPIC_CHARACTERS} or new.topic {_is('~')} {BLANK}"
    ),
    "outbox_account_not_blank": f"new.account {_is('~')} {BLANK}",
    "outbox_ordering_key_not_empty": f"new.ordering_key {_is('=')} ''",
}

# The same of an update, for the function that looks at those.
UNSOUND_STATE = _any(*(f"new.{name} is null" for name in _STATES_NEVER_NULL), *_UNSOUND.values())
_IS_NULL = " or ".join(f"new.{name} is null" for name in _STATES_NEVER_NULL)
_WHICH = " ".join(f"when {broken} then '{name}'" for name, broken in _UNSOUND.items())
REFUSE_STATE = f"""raise exception using
                errcode = case when {_IS_NULL} then 'not_null_violation' else 'check_violation' end,
                table = 'outbox', constraint = coalesce(case {_WHICH} end, ''),
                message = concat('new row for relation "outbox" violates check constraint "',
                    case when {_IS_NULL} then 'not null' {_WHICH} end, '"'),
                hint = 'The relay alone changes what became of a message.';"""

# What may not be null is asked for what it is, so that null is suspicious as well, for one step more than without.
_USUAL = "\n            and ".join(
    (
        f"new.status {_is('=')} 'pending' and new.attempts {_is('>=')} 0",
        f"{_size('new.topic')} {_is('<=')} {_LEAST_LIMIT} and {_size('new.account')} {_is('<=')} {_LEAST_LIMIT}",
        f"content {_is('<>')} {_TOMBSTONE} and new.available_at is not null",
    )
)
_SUSPICIOUS = _any(
    f"({_USUAL}) is not true",
    "new.finished_at is not null",
    *(f"new.{name} {_is('~')} {CONTROLS[:-1]}|{BLANK[2:]}" for name in ("topic", "account")),
    *(f"{_size(f'new.{name}')} {_is('>')} {_LEAST_LIMIT} or new.{name} {_is('=')} ''" for name in _KEYS),
    f"coalesce({', '.join(f'new.{name}' for name in _RARE)}) is not null",
    "new.headers is not null or new.json_ex_content is not null or new.deliver_before is not null",
    f"greatest(new.available_at, new.created_at) {_is('>=')} {END}",
    f"least(new.available_at, new.created_at) {_is('<')} {FIRST}",
)

_INFINITY = "cast('infinity' as timestamp with time zone)"
_BEFORE_ALL = "cast('-infinity' as timestamp with time zone)"
_HELD = f"new.attempts {_is('>')} 0 or new.error_code is not null"
_BEYOND_A_LIMIT = _any(
    *(f"{_size(f'new.{name}')} {_is('>')} {most}" for name, most in BYTES.items()),
    *(f"{_size(_text(name))} {_is('>')} {most}" for name, most in JSON_BYTES.items()),
    *(f"new.{name} {_is('~')} {CONTROLS}" for name in NAMES),
    f"new.dedupe_key {_is('=')} ''",
    f"content {_is('=')} {_TOMBSTONE}",
)
_BEYOND_THE_YEARS = _any(
    f"new.available_at {_is('>=')} {END} and not (new.available_at {_is('=')} {_INFINITY} and ({_HELD}))",
    f"new.available_at {_is('<')} {FIRST} and new.available_at {_is('>')} {_BEFORE_ALL}",
    f"new.deliver_before {_is('>=')} {END} and new.deliver_before {_is('<')} {_INFINITY}",
    f"new.deliver_before {_is('<')} {FIRST}",
    *(f"new.{name} {_is('>=')} {END} or new.{name} {_is('<')} {FIRST}" for name in ("created_at", "finished_at")),
)


def _refuses(what: str) -> str:
    return f"""execute pg_catalog.concat(
                    'select ', pg_catalog.quote_ident(tg_table_schema), '.refuse_message($1, ''{what}'')') using new;"""


_KEEP_EVIDENCE = f"""
    create or replace function {{schema}}.keep_evidence() returns trigger language plpgsql security definer as $body$
    declare
        content pg_catalog.text := cast(new.content as pg_catalog.text);
    begin
        if {_SUSPICIOUS}
        then
            if {_any(*(f"new.{name} is null" for name in _NEVER_NULL), *_UNSOUND.values(), *_UNSOUND_TEXTS.values())}
            then
                {_refuses("unsound")}
            end if;
            if new.created_xid {_is("=")} pg_catalog.pg_current_xact_id() then
                if {_BEYOND_A_LIMIT}
                then
                    {_refuses("limits")}
                end if;
                if {_BEYOND_THE_YEARS}
                then
                    {_refuses("years")}
                end if;
            end if;
        end if;
        if new.dedupe_key is not null then
            if new.created_xid {_is("=")} pg_catalog.pg_current_xact_id()
                and exists (
                    select from {{schema}}.dedupe d
                    where d.account {_is("=")} new.account and d.dedupe_key {_is("=")} new.dedupe_key)
            then
                return null;
            end if;
        end if;
        if new.content_sha256 is null or new.content_salt is null and content {_is("<>")} {_TOMBSTONE}
        then
            new.content_salt := pg_catalog.uuid_send(pg_catalog.gen_random_uuid());
            new.content_sha256 := pg_catalog.sha256(
                new.content_salt {_is("||")} pg_catalog.convert_to(content, 'UTF8'));
        end if;
        if (new.id {_is(">")}
                cast('0' {_is("||")} pg_catalog.current_setting('relay.last_id', true) as bigint)
            and 1000 {_is("*")} pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) {_is("<")}
                cast('0' {_is("||")} pg_catalog.current_setting('relay.look_again', true) as bigint)
            and new.created_xid {_is("=")} pg_catalog.pg_current_xact_id()) is not true
        then
            execute pg_catalog.concat('select ', pg_catalog.quote_ident(tg_table_schema), '.unused_id($1, $2)')
                into new.id using new.id, new.created_xid;
        end if;
        return new;
    end
    $body$
    """

_SIZES = ",\n                ".join(
    f"('{name}', octet_length(cast(message.{name} as text)), {most})" for name, most in (BYTES | JSON_BYTES).items()
)
_NAMED = ", ".join(f"('{name}', message.{name})" for name in NAMES)
_BROKEN = ",\n                ".join(
    f"('{name}', {condition.replace('new.', 'message.')})" for name, condition in (_UNSOUND_TEXTS | _UNSOUND).items()
)
_REFUSE_MESSAGE = r"""
    create function {schema}.refuse_message(message {schema}.outbox, what text) returns void
        language plpgsql set search_path = pg_catalog, pg_temp as $body$
    declare
        named text;
        size integer;
        most integer;
    begin
        if what = 'unsound' then
            select columns.named into named from (values NEVER_NULL) as columns (named, value)
            where columns.value is null limit 1;
            if found then
                raise exception using
                    errcode = 'not_null_violation', table = 'outbox', column = named,
                    message = concat('null value in column "', named, '" of relation "outbox"'),
                    hint = case when named in ('topic', 'content') then 'Every message has one.'
                        else 'Leave the column out: it has a default.' end;
            end if;
            select checks.named into named from (values
                BROKEN
            ) as checks (named, broken) where checks.broken limit 1;
            raise exception using
                errcode = 'check_violation', table = 'outbox', constraint = named,
                message = concat('new row for relation "outbox" violates check constraint "', named, '"'),
                hint = case named
                    when 'outbox_topic_within_limit'
                    then 'A topic has a visible character, and 256 characters at most.'
                    when 'outbox_account_not_blank' then 'Leave the account out for the one named default.'
                    when 'outbox_ordering_key_not_empty' then 'Leave it out (null) for a message without one.'
                    else 'The relay alone changes what became of a message.' end;
        elsif what = 'years' and message.available_at = 'infinity' then
            raise exception using
                errcode = 'check_violation',
                message = 'available_at is infinity, and a message that is never due cannot be inserted',
                hint = 'Insert it when it is to go, or pause its account.';
        elsif what = 'years' then
            raise exception using
                errcode = 'check_violation',
                message = 'a time of this message is outside the years 1 to 9999, without their first and last day',
                hint = 'Milliseconds taken for seconds? to_timestamp takes seconds.';
        end if;
        select columns.* into named, size, most from (values
                SIZES
            ) as columns (named, size, most) where columns.size > columns.most limit 1;
        if found then
            raise exception using
                errcode = 'check_violation', column = named,
                message = concat(named, ' has ', size, ' bytes, the outbox takes at most ', most),
                hint = 'Keep what is large elsewhere and insert a reference to it.';
        end if;
        select columns.named into named from (values NAMED) as columns (named, value)
        where columns.value ~ CONTROLS limit 1;
        if found then
            raise exception using
                errcode = 'check_violation', column = named,
                message = concat(named, ' has a control character, or one that nobody sees'),
                hint = 'A line feed, an escape sequence, a mark without width: leave it out.';
        end if;
        if message.dedupe_key = '' then
            raise exception using
                errcode = 'check_violation', column = 'dedupe_key',
                message = 'dedupe_key is empty, and all messages with an empty one would count as the same',
                hint = 'Leave it out (null) for a message without one.';
        end if;
        if cast(message.content as text) = TOMBSTONE then
            raise exception using
                errcode = 'check_violation', column = 'content',
                message = 'content is what relay redact leaves behind, which nobody else may write',
                hint = 'Call it something else than redacted.';
        end if;
    end
    $body$
    """
for _place, _said in (
    ("NEVER_NULL", ", ".join(f"('{name}', cast(message.{name} as text))" for name in _NEVER_NULL)),
    ("BROKEN", _BROKEN),
    ("SIZES", _SIZES),
    ("NAMED", _NAMED),
    ("CONTROLS", f"case getdatabaseencoding() when 'UTF8' then {CONTROLS} else {ASCII_CONTROLS} end"),
    ("TOMBSTONE", _TOMBSTONE),
):
    _REFUSE_MESSAGE = _REFUSE_MESSAGE.replace(_place, _said)
_CHECKS = tuple(_UNSOUND_TEXTS | _UNSOUND)
# As revision 0001 wrote them.
_CHECKS_BEFORE = {
    "outbox_topic_within_limit": r"length(topic) <= 256 and topic ~ '\S'",
    "outbox_account_not_blank": r"account ~ '\S'",
    "outbox_ordering_key_not_empty": "ordering_key <> ''",
    "outbox_status_known": "status in ('pending', 'done', 'failed')",
    "outbox_attempts_not_negative": "attempts >= 0",
    "outbox_finished_when_not_pending": "(status = 'pending') = (finished_at is null)",
    "outbox_done_names_its_call": "status <> 'done' or (call_id is not null and result_index is not null)",
}


def _as_first_written() -> str:
    (found,) = (text for text in r0004.EVIDENCE if "create function {schema}.keep_evidence()" in text)
    return found.replace("create function", "create or replace function")


UPGRADE: tuple[str, ...] = (
    _REFUSE_MESSAGE,
    "revoke execute on function {schema}.refuse_message({schema}.outbox, text) from public",
    _KEEP_EVIDENCE,
    "alter table {schema}.outbox " + ", ".join(f"drop constraint {name}" for name in _CHECKS),
)

DOWNGRADE: tuple[str, ...] = (
    "alter table {schema}.outbox "
    + ", ".join(f"add constraint {name} check ({condition})" for name, condition in _CHECKS_BEFORE.items()),
    _as_first_written(),
    "drop function {schema}.refuse_message({schema}.outbox, text)",
)
