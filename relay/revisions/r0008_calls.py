"""Revision 0008, calls that a reused id cannot be taken for, and who made them. Frozen once released: never edit.

The worker draws a nonce for each call and settles it under id and nonce. After a fail-over to a standby that was
behind, or a restore, ids are given out again, and the answer to a call that is gone must not close another one. A
worker of the version before knows no nonce: its calls have 0.

A worker gives itself its name; ``created_by`` is the login that made the call, and no role of the relay's has the right
to name another. A call of before has none: the login of whoever migrates would be a lie.

The columns come last in both tables, so in the archive behind ``finished_at``; ``r0008_archiving`` moves calls by name.
Whoever may insert calls may give them a nonce, without ``relay roles`` being run first.
"""

from __future__ import annotations

from relay.revisions import r0004_comments, r0006_views

(_BEFORE,) = (text for text in r0006_views.UPGRADE if "view {schema}.audit_call " in text)
_VIEW = _BEFORE.replace("duration_ms from", "duration_ms, created_by from").replace(
    "duration_ms\n", "duration_ms, created_by\n"
)
CREATED_BY = "Database user who made the call; empty: before revision 0008 / 发出调用的数据库用户；空表示 0008 版之前"

UPGRADE: tuple[str, ...] = (
    "alter table {schema}.call add column nonce bigint not null default 0",
    "alter table {schema}.call_archive add column nonce bigint not null default 0",
    "alter table {schema}.call_archive alter column nonce drop default",
    "alter table {schema}.call add column created_by text",
    "alter table {schema}.call alter column created_by set default session_user",
    "alter table {schema}.call_archive add column created_by text",
    _VIEW,
    f"comment on column {{schema}}.audit_call.created_by is '{CREATED_BY}'",
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
    "drop view {schema}.audit_call",
    _BEFORE.replace("create or replace", "create"),
    *(text for text in r0004_comments.UPGRADE if "{schema}.audit_call" in text),
    "alter table {schema}.call_archive drop column created_by, drop column nonce",
    "alter table {schema}.call drop column created_by, drop column nonce",
)
