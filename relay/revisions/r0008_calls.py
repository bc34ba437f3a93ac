"""Revision 0008, calls that a reused id cannot be taken for. Frozen once released: never edit, add one.

The worker draws a nonce for each call and settles it under id and nonce. After a fail-over to a standby that was
behind, or a restore, ids are given out again, and the answer to a call that is gone must not close another one. A
worker of the version before knows no nonce: its calls have 0.

The column comes last in both tables, so in the archive behind ``finished_at``: what moves calls names its columns.
Whoever may insert calls may give them a nonce, without ``relay roles`` being run first.
"""

from __future__ import annotations

from relay.revisions import r0006_functions

_COLUMNS = (
    "id, account, worker, message_ids, parent_id, claimed_at, lease_until, sent_at, settled_at, outcome, http_status, "
    "request_id, error_code, sub_code, error_message, request_bytes, duration_ms"
)
_BY_PLACE = "insert into call_archive select * from gone"
_BY_NAME = _BY_PLACE.replace("call_archive", f"call_archive ({_COLUMNS}, nonce, finished_at)")

_MOVE_CALLS = next(
    text.replace("create function", "create or replace function")
    for text in r0006_functions.UPGRADE
    if "function {schema}.archive_calls(" in text
)

UPGRADE: tuple[str, ...] = (
    "alter table {schema}.call add column nonce bigint not null default 0",
    "alter table {schema}.call_archive add column nonce bigint not null default 0",
    "alter table {schema}.call_archive alter column nonce drop default",
    _MOVE_CALLS.replace(_BY_PLACE, _BY_NAME),
    r"""
    do $body$
    declare
        grantee text;
    begin
        for grantee in
            select distinct case when acl.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end
            from pg_attribute a cross join aclexplode(a.attacl) as acl
            where a.attrelid = cast('{schema}.call' as regclass) and a.attname = 'message_ids'
              and acl.privilege_type = 'INSERT'
        loop
            execute 'grant insert (nonce) on {schema}.call to ' || grantee;
        end loop;
    end
    $body$
    """,
)

DOWNGRADE: tuple[str, ...] = (
    _MOVE_CALLS,
    "alter table {schema}.call_archive drop column nonce",
    "alter table {schema}.call drop column nonce",
)
