"""Revision 0008, how much a login may write. Frozen once released: never edit, add one.

An application's columns are bounded at the insert (``r0008_inserts``), what workers and operators write is here. A text
of a quarter of a gigabyte in one row makes every view and every export fail that has to read it. The relay cuts a code
at 200 characters and a text at 1000 (``store/evidence.py``), so nothing that it writes comes near.

A trigger's ``when`` and no checks: a row from before that is longer must still be able to end. It stands on the columns
of an error alone, which the statement for messages that are done does not name. The ledger is written by functions of
the owner, whoever calls them, so there nobody is excepted.
"""

from __future__ import annotations

from relay.revisions.r0008_limits import ASCII_CONTROLS, CONTROLS

_CODE_BYTES = 1_000
_TEXT_BYTES = 8_000
_NAME_BYTES = 1_000
_REASON_BYTES = 10_000
_SCOPE_BYTES = 2_500  # of an account from before there were limits; an index takes no more

_TOO_LONG = "'a code has at most 1000 bytes, a name 1000, the text of an error 8000', 'Cut it, and keep it elsewhere.'"


def _longer(**most: int) -> str:
    return " or ".join(f'octet_length(new."{name}") > {size}' for name, size in most.items())


def _bounded(name: str, event: str, table: str, condition: str) -> str:
    return f"""
    create trigger {name}
        before {event} on {{schema}}.{table}
        for each row when ({condition})
        execute function {{schema}}.refuse_but_owner({_TOO_LONG})
    """


_OF_AN_ERROR = _longer(error_code=_CODE_BYTES, error_message=_TEXT_BYTES)
_OF_AN_ANSWER = _longer(request_id=_CODE_BYTES, error_code=_CODE_BYTES, sub_code=_CODE_BYTES, error_message=_TEXT_BYTES)
_TRIGGERS = {
    # What a person said when discarding may be longer, and stays until the next outcome.
    ("outbox_words_are_short", "outbox"): (
        "update of error_code, error_message",
        f"({_OF_AN_ERROR}) "
        "and (new.error_code, new.error_message) is distinct from (old.error_code, old.error_message)",
    ),
    ("attempt_words_are_short", "attempt"): ("insert", _OF_AN_ERROR),
    ("call_names_are_short", "call"): ("insert", _longer(account=_SCOPE_BYTES, worker=_NAME_BYTES)),
    ("call_words_are_short", "call"): ("update of request_id, error_code, sub_code, error_message", _OF_AN_ANSWER),
    ("pause_words_are_short", "pause"): (
        "insert or update",
        _longer(scope=_SCOPE_BYTES, reason=_TEXT_BYTES, error_code=_CODE_BYTES, credential=_CODE_BYTES, by=_NAME_BYTES),
    ),
    ("pace_names_are_short", "pace"): ("insert or update", _longer(app_key=_SCOPE_BYTES)),
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
        for each row when ({_longer(actor=_NAME_BYTES, reason=_REASON_BYTES)})
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
