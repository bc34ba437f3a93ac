"""Revision 0008, who moves to the archive is alone by a lock that needs a right. Frozen once released: never edit.

The two functions that move, each written once for all of this revision. They wait for nobody: ``archive_alone()``
(``r0008_locks``) says whether somebody is at it. Calls are moved column by column, for in the archive later columns
stand behind ``finished_at``.

Whoever says that everything before tomorrow is to be archived means something else, or means harm: what finishes from
now on would go at once, before anybody has seen it. A time that is still to come is refused. A worker's login leaves
what ended for a day where people look for it and retry it; only who has the owner's rights may move it earlier. The
login is asked, for inside of these functions everybody is the owner.

Who says that failed messages hold no ordering key releases those that they hold. No worker's settings are known here,
so the ledger has what was said, and how many messages went that hold one where they do (``failed_with_key``).

Databases that came to 0006 with its first text have functions here that only a superuser can define, so that nobody
else could restore a dump of them. Taking this revision back gives everybody the text that 0006 has now.
"""

from __future__ import annotations

from relay.revisions import r0006_functions
from relay.revisions.r0008_naming import NO_NULLS, NULLS

_ADVISORY = "pg_try_advisory_xact_lock(cast(cast('outbox' as regclass) as integer), 257)"
_BY_PLACE = "insert into call_archive select * from gone"
_BY_NAME = _BY_PLACE.replace(
    "call_archive",
    "call_archive (id, account, worker, message_ids, parent_id, claimed_at, lease_until, sent_at, settled_at, outcome, "
    "http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms, nonce, created_by, "
    "finished_at)",
)

_MADE = "        made boolean;\n"
_COUNTED = "        failed_with_key integer;\n"
_MOVES = "        perform set_config('relay.pruning', 'on', true);\n"
_COUNTS = """        select count(*) into failed_with_key from outbox o
        where o.id = any (chosen) and o.status = 'failed' and o.ordering_key is not null
          and o.error_code is distinct from 'relay.discarded';
"""
_TOLD = "'attempts', attempts)"
_TOLD_TOO = """'attempts', attempts,
                'failed_holds', failed_holds, 'failed_with_key', failed_with_key)"""
_BEGIN = "        busy := not "
_REFUSES = """        if before > now() then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'only what finished in the past is archived, and this time is still to come: ' || before,
                hint = 'Name a time that is over, for example: now() - interval ''30 days''';
        end if;
        if before > now() - interval '1 day' and not pg_has_role(
            session_user, (select relowner from pg_class where oid = cast('outbox' as regclass)), 'member')
        then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'only the owner archives what finished less than a day ago, and asked is for all before '
                    || before,
                hint = 'Name a time that is a day ago or more (relay archive --older-than 1d), or ask the owner.';
        end if;
"""

DOWNGRADE: tuple[str, ...] = tuple(
    text.replace("create function", "create or replace function") for text in r0006_functions.MOVERS
)

_SINCE = tuple(
    text.replace(_ADVISORY, "archive_alone()")
    .replace(_BY_PLACE, _BY_NAME)
    .replace(NULLS, NO_NULLS)
    .replace(_BEGIN, _REFUSES + _BEGIN)
    for text in DOWNGRADE
)
UPGRADE: tuple[str, ...] = tuple(
    text.replace(_MADE, _MADE + _COUNTED).replace(_MOVES, _COUNTS + _MOVES).replace(_TOLD, _TOLD_TOO)
    if _TOLD in text
    else text
    for text in _SINCE
)
