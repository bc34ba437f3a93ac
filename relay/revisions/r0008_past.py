"""Revision 0008, only what is past moves. Frozen once released: never edit, add one.

Whoever says that everything before tomorrow is to be archived means something else, or means harm: what finishes from
now on would go at once, before anybody has seen it. Both movers refuse a time that is still to come.
"""

from __future__ import annotations

from relay.revisions import r0006_functions, r0008_calls

_BEGIN = "        busy := not pg_try_advisory_xact_lock("
_REFUSES = """        if before > now() then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'only what finished in the past is archived, and this time is still to come: ' || before,
                hint = 'Name a time that is over, for example: now() - interval ''30 days''';
        end if;
"""


def _replacing(text: str) -> str:
    return text.replace("create function", "create or replace function")


(_MESSAGES_BEFORE,) = (_replacing(text) for text in r0006_functions.MOVERS if ".archive_messages(" in text)
(_CALLS_BEFORE,) = (text for text in r0008_calls.UPGRADE if "function {schema}.archive_calls(" in text)


def _refusing(text: str) -> str:
    assert text.count(_BEGIN) == 1
    return text.replace(_BEGIN, _REFUSES + _BEGIN)


UPGRADE: tuple[str, ...] = (_refusing(_MESSAGES_BEFORE), _refusing(_CALLS_BEFORE))

DOWNGRADE: tuple[str, ...] = (_MESSAGES_BEFORE, _CALLS_BEFORE)
