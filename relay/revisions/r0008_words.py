"""Revision 0008, how much a login may write. Frozen once released: never edit, add one.

An application's columns are bounded at the insert (``r0008_inserts``), what workers and operators write is here. A text
of a quarter of a gigabyte in one row makes every view and every export fail that has to read it. The relay cuts a code
at 200 characters and a text at 1000 (``store/evidence.py``), so nothing that it writes comes near.

Triggers and no checks: a row from before that is longer must still be able to end. Those of messages, calls and
attempts are in ``r0008_final`` and ``r0008_naming``. The ledger is written by functions of the owner, whoever calls
them, so there nobody is excepted.
"""

from __future__ import annotations

from relay.revisions.r0008_limits import ASCII_CONTROLS, CONTROLS

CODE_BYTES = 1_000
TEXT_BYTES = 8_000
NAME_BYTES = 1_000
_REASON_BYTES = 10_000
SCOPE_BYTES = 2_500  # of an account from before there were limits; an index takes no more

_TOO_LONG = "a code has at most 1000 bytes, a name 1000, the text of an error 8000"
_CUT_IT = "Cut it, and keep it elsewhere."
TOO_LONG = f"""raise exception using
                errcode = 'restrict_violation', message = '{_TOO_LONG}', hint = '{_CUT_IT}';"""


def longer(**most: int) -> str:
    """The condition of a trigger: any of these columns has more bytes than its limit."""
    return " or ".join(f'octet_length(new."{name}") > {size}' for name, size in most.items())


def _bounded(name: str, event: str, table: str, condition: str) -> str:
    return f"""
    create trigger {name}
        before {event} on {{schema}}.{table}
        for each row when ({condition})
        execute function {{schema}}.refuse_but_owner('{_TOO_LONG}', '{_CUT_IT}')
    """


_TRIGGERS = {
    ("pause_words_are_short", "pause"): (
        "insert or update",
        longer(scope=SCOPE_BYTES, reason=TEXT_BYTES, error_code=CODE_BYTES, credential=CODE_BYTES, by=NAME_BYTES),
    ),
    ("pace_names_are_short", "pace"): ("insert or update", longer(app_key=SCOPE_BYTES)),
}

# An archiver, a worker that starts, who asks for a comparison: each of them gives the ledger a name and a reason.
LEDGER = (
    r"""
    create function {schema}.refuse_long_words() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    begin
        raise exception using
            errcode = 'program_limit_exceeded',
            message = 'a name for the ledger has at most 1000 bytes, and a reason 10000';
    end
    $body$
    """,
    f"""
    create trigger action_words_are_short
        before insert on {{schema}}.action
        for each row when ({longer(actor=NAME_BYTES, reason=_REASON_BYTES)})
        execute function {{schema}}.refuse_long_words()
    """,
)

# A scope is a name in tables, lines of a log and on terminals; an account has 256 bytes.
SCOPES = (
    r"""
    create function {schema}.refuse_scope() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    begin
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'a scope has at most 512 bytes and no control character',
            hint = 'account:NAME or app:KEY, as relay status shows it.';
    end
    $body$
    """,
    f"""
    create trigger pause_scope_is_a_name
        before insert on {{schema}}.pause
        for each row when (new.error_code is null
            and (octet_length(new.scope) > 512
                or new.scope ~ case getdatabaseencoding() when 'UTF8' then {CONTROLS} else {ASCII_CONTROLS} end))
        execute function {{schema}}.refuse_scope()
    """,
)

UPGRADE: tuple[str, ...] = (
    *(_bounded(name, event, table, when) for (name, table), (event, when) in _TRIGGERS.items()),
    *LEDGER,
    *SCOPES,
)

DOWNGRADE: tuple[str, ...] = (
    "drop trigger pause_scope_is_a_name on {schema}.pause",
    "drop function {schema}.refuse_scope()",
    "drop trigger action_words_are_short on {schema}.action",
    "drop function {schema}.refuse_long_words()",
    *(f"drop trigger {name} on {{schema}}.{table}" for name, table in _TRIGGERS),
)
