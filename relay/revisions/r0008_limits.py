"""Revision 0008, limits for every column an application writes. Frozen once released: never edit, add one.

Looked at when a row is inserted and not by a check of the table: a check is made again at every update, and a row that
is there already could never be settled or discarded. A ``when`` is read anew by every statement, and so long a one
would cost a fifth of an insert. So it is one function, and one condition in it over all columns together; only what
that suspects is looked at column by column. It has no SET clause, which would cost as much as itself: names in it are
qualified. What is beyond a limit is looked at again by ``refuse_message``, which has one, and says which column it is,
its size and its limit. Never a value: that may be anybody's, and long.

Times are those that every reader can read: the years 1 to 9999, and a day less at either end, so that it is the same in
every zone. Infinity is how a message is held; one that a person or an answer has held has a history.

A row of another transaction is a row of a dump: it was taken once, held by hand perhaps, and a dump must be whole. An
application has no right to name the transaction.
"""

from __future__ import annotations

# Octets. Two keys, or an account and a key, fit into one entry of an index (2,704).
BYTES = {
    "account": 256,
    "target_group": 256,
    "target_app_key": 256,
    "ordering_key": 512,
    "dedupe_key": 512,
    "producer": 256,
}
JSON_BYTES = {"json_ex_content": 122_880, "headers": 16_384}
# They stand in lines of a log, in tables on a terminal, in the name of a pause.
NAMES = ("topic", "account", "target_group", "target_app_key", "producer")
TIMES = ("available_at", "deliver_before", "created_at", "finished_at")

# The rest of ASCII's and of Latin-1's control characters, separators of lines, and what turns the direction of a text.
# Written so that it reads the same whatever the session thinks of a backslash.
_CONTROLS = r"E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2066-\\u2069]'"
_ASCII_CONTROLS = r"E'[\\u0001-\\u001f\\u007f]'"

_FIRST = "cast('0001-01-02 00:00+00' as timestamp with time zone)"
_END = "cast('9999-12-31 00:00+00' as timestamp with time zone)"


def _is(operator: str) -> str:
    return f"operator(pg_catalog.{operator})"


def _suspicious() -> str:
    """What nearly no message is, in as few steps as it takes: each one is made ready anew in every transaction."""
    keys = ", ".join(f"new.{name}" for name in BYTES)
    names = ", ".join(f"new.{name}" for name in NAMES)
    times = ", ".join(f"new.{name}" for name in TIMES)
    text = "cast(new.{} as pg_catalog.text)"
    return "\n            or ".join(
        (
            f"pg_catalog.octet_length(pg_catalog.concat({keys})) {_is('>')} {min(BYTES.values())}",
            f"pg_catalog.concat({names}) {_is('~')} {_CONTROLS}",
            *(f"pg_catalog.octet_length({text.format(name)}) {_is('>')} {most}" for name, most in JSON_BYTES.items()),
            f"new.dedupe_key {_is('=')} ''",
            f"{text.format('content')} {_is('=')} '{{\"redacted\": true}}'",
            f"greatest({times}) {_is('>=')} {_END}",
            f"least({times}) {_is('<')} {_FIRST}",
        )
    )


def _beyond_a_limit() -> str:
    text = "cast(new.{} as pg_catalog.text)"
    sizes = [f"pg_catalog.octet_length(new.{name}) {_is('>')} {most}" for name, most in BYTES.items()]
    sizes += [f"pg_catalog.octet_length({text.format(name)}) {_is('>')} {most}" for name, most in JSON_BYTES.items()]
    names = [f"new.{name} {_is('~')} {_CONTROLS}" for name in NAMES]
    return "\n            or ".join(
        (
            *sizes,
            *names,
            f"new.dedupe_key {_is('=')} ''",
            f"{text.format('content')} {_is('=')} '{{\"redacted\": true}}'",
        )
    )


def _beyond_the_years() -> str:
    infinity = "cast('infinity' as timestamp with time zone)"
    before = "cast('-infinity' as timestamp with time zone)"
    held = f"new.attempts {_is('>')} 0 or new.error_code is not null"
    return "\n            or ".join(
        (
            f"new.available_at {_is('>=')} {_END} and not (new.available_at {_is('=')} {infinity} and ({held}))",
            f"new.available_at {_is('<')} {_FIRST} and new.available_at {_is('>')} {before}",
            f"new.deliver_before {_is('>=')} {_END} and new.deliver_before {_is('<')} {infinity}",
            f"new.deliver_before {_is('<')} {_FIRST}",
            *(
                f"new.{name} {_is('>=')} {_END} or new.{name} {_is('<')} {_FIRST}"
                for name in ("created_at", "finished_at")
            ),
        )
    )


_SIZES = ",\n                ".join(
    f"('{name}', octet_length(cast(message.{name} as text)), {most})" for name, most in (BYTES | JSON_BYTES).items()
)
_NAMES = ", ".join(f"('{name}', message.{name})" for name in NAMES)

_REFUSES = r"""
    create function {schema}.refuse_message(message {schema}.outbox, out_of_the_years boolean) returns void
        language plpgsql set search_path = pg_catalog, pg_temp as $body$
    declare
        named text;
        size integer;
        most integer;
    begin
        if out_of_the_years and message.available_at = 'infinity' then
            raise exception using
                errcode = 'check_violation',
                message = 'available_at is infinity, and a message that is never due cannot be inserted',
                hint = 'Insert it when it is to go, or pause its account.';
        elsif out_of_the_years then
            raise exception using
                errcode = 'check_violation',
                message = 'a time of this message is outside the years 1 to 9999',
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
        select columns.named into named from (values NAMES) as columns (named, value)
        where columns.value ~ CONTROLS limit 1;
        if found then
            raise exception using
                errcode = 'check_violation', column = named,
                message = concat(named, ' has a control character'),
                hint = 'A line feed, an escape sequence, a mark that turns the direction of the text: leave it out.';
        end if;
        if message.dedupe_key = '' then
            raise exception using
                errcode = 'check_violation', column = 'dedupe_key',
                message = 'dedupe_key is empty, and all messages with an empty one would count as the same',
                hint = 'Leave it out (null) for a message without one.';
        end if;
        if cast(message.content as text) = '{"redacted": true}' then
            raise exception using
                errcode = 'check_violation', column = 'content',
                message = 'content is what relay redact leaves behind, which nobody else may write',
                hint = 'Call it something else than redacted.';
        end if;
    end
    $body$
    """
for _place, _said in (
    ("SIZES", _SIZES),
    ("NAMES", _NAMES),
    ("CONTROLS", f"case getdatabaseencoding() when 'UTF8' then {_CONTROLS} else {_ASCII_CONTROLS} end"),
):
    _REFUSES = _REFUSES.replace(_place, _said)

# A view reads a column of rows that are older than its limit; what is larger than this, as stored, is not read at all:
# one such row would end every look at the view. Whatever else the view has by now stays as it is.
_WHOLE = "(o.headers)::text"
_BOUNDED = "( CASE WHEN (pg_column_size(o.headers) <= 65536) THEN o.headers ELSE NULL::json END)::text"


def _view_reads(before: str, after: str) -> str:
    return f"""
    do $body$
    declare
        view regclass := cast('{{schema}}.audit_message' as regclass);
        reads text := regexp_replace(pg_get_viewdef(view), '[[:space:]]+', ' ', 'g');
    begin
        if position('{before}' in reads) > 0 then
            execute concat('create or replace view ', view, ' with (security_barrier) as ',
                replace(reads, '{before}', '{after}'));
        end if;
    end
    $body$
    """


UPGRADE: tuple[str, ...] = (
    _REFUSES,
    f"""
    create function {{schema}}.keep_limits() returns trigger language plpgsql security definer as $body$
    begin
        if {_suspicious()}
        then
            if new.created_xid {_is("<>")} pg_catalog.pg_current_xact_id() then
                return new;
            end if;
            if {_beyond_a_limit()}
            then
                execute pg_catalog.concat(
                    'select ', pg_catalog.quote_ident(tg_table_schema), '.refuse_message($1, false)') using new;
            end if;
            if {_beyond_the_years()}
            then
                execute pg_catalog.concat(
                    'select ', pg_catalog.quote_ident(tg_table_schema), '.refuse_message($1, true)') using new;
            end if;
        end if;
        return new;
    end
    $body$
    """,
    "revoke execute on function {schema}.refuse_message({schema}.outbox, boolean) from public",
    # Before the others by its name: what is too large is not hashed first.
    """
    create trigger outbox_is_within_limits
        before insert on {schema}.outbox
        for each row execute function {schema}.keep_limits()
    """,
    _view_reads(_WHOLE, _BOUNDED),
)

DOWNGRADE: tuple[str, ...] = (
    _view_reads(_BOUNDED, _WHOLE),
    "drop trigger outbox_is_within_limits on {schema}.outbox",
    "drop function {schema}.keep_limits()",
    "drop function {schema}.refuse_message({schema}.outbox, boolean)",
)
