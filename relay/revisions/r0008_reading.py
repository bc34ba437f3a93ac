"""Revision 0008, what relay status, list, show and the dashboard read. Frozen once released: never edit, add one.

One view a table: the same rows and names, so that a command which reads them follows the indexes of the table. What
nobody is to see is left out (contents, headers, salts, credentials), what a person wrote is masked, and no time is
infinite. They run with their owner's rights, so that operators and auditors need none on a table.

They are no security barriers, as the audit views are. Such a view is worked out before anybody can sort it: ``order by
id desc limit 50`` would read all there is. A barrier keeps rows from whoever may not see them, and here is nothing to
keep: each row of the table is shown, and a condition can only be put to what is shown of it. So it must stay: no
condition, no join, no function that takes a hidden column and gives it back.
"""

from __future__ import annotations

from relay.revisions.r0004_comments import COMMENTS
from relay.revisions.r0008_calls import CREATED_BY

_MESSAGE = r"""
    create view {schema}.read_<table> as
    select m.id, m.status, m.topic, m.account, m.target_group, m.target_app_key, m.ordering_key, m.dedupe_key,
        m.producer, length(cast(m.content as text)) as content_characters,
        case when m.content_salt is not null then encode(m.content_sha256, 'hex') end as content_sha256,
        m.attempts, m.call_id, m.result_index, m.error_code, {schema}.mask_text(m.error_message) as error_message,
        nullif(nullif(m.available_at, 'infinity'), '-infinity') as available_at,
        m.status = 'pending' and m.available_at = 'infinity' as held,
        nullif(nullif(m.deliver_before, 'infinity'), '-infinity') as deliver_before,
        m.created_at, m.created_by, m.finished_at
    from {schema}.<table> m
    """
_CALL = r"""
    create view {schema}.read_<table> as
    select c.id, c.account, c.worker, c.message_ids, c.parent_id, c.claimed_at, c.lease_until, c.sent_at, c.settled_at,
        c.outcome, c.http_status, c.request_id, c.error_code, c.sub_code,
        {schema}.mask_text(c.error_message) as error_message, c.request_bytes, c.duration_ms,
        c.created_by
    from {schema}.<table> c
    """
_ATTEMPT = r"""
    create view {schema}.read_<table> as
    select a.message_id, a.call_id, a.result_index, a.outcome, a.error_code,
        {schema}.mask_text(a.error_message) as error_message, a.at,
        nullif(nullif(a.retry_at, 'infinity'), '-infinity') as retry_at
    from {schema}.<table> a
    """
_PAUSE = r"""
    create view {schema}.read_<table> as
    select p.scope, nullif(p.until, 'infinity') as until, {schema}.mask_text(p.reason) as reason, p.error_code,
        p.since, p.by, p.db_user
    from {schema}.<table> p
    """
_PAUSE_PAST = r"""
    create view {schema}.read_<table> as
    select p.scope, nullif(p.until, 'infinity') as until, {schema}.mask_text(p.reason) as reason, p.error_code,
        p.since, p.by, p.db_user, p.ended_at, p.ended_by, p.ended
    from {schema}.<table> p
    """
_ACTION = r"""
    create view {schema}.read_<table> as
    select a.id, a.at, a.actor, a.db_user, a.action, {schema}.mask_text(a.reason) as reason, a.selection,
        a.message_ids, a.count
    from {schema}.<table> a
    """
_PACE = r"""
    create view {schema}.read_<table> as
    select p.app_key, p.next_at, p.db_user, p.step
    from {schema}.<table> p
    """
_DEDUPE = r"""
    create view {schema}.read_<table> as
    select d.account, d.dedupe_key, d.message_id, d.left_at
    from {schema}.<table> d
    """
_VIEWS = {
    "outbox": _MESSAGE,
    "call": _CALL,
    "attempt": _ATTEMPT,
    "pause": _PAUSE,
    "outbox_archive": _MESSAGE,
    "call_archive": _CALL,
    "attempt_archive": _ATTEMPT,
    "pause_past": _PAUSE_PAST,
    "action": _ACTION,
    "pace": _PACE,
    "dedupe": _DEDUPE,
}

# Whoever may read a table already gets its view, without relay roles being run first: the view shows less.
_GRANT = r"""
    do $body$
    declare
        may record;
    begin
        for may in
            select c.relname,
                case when acl.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end as grantee
            from pg_class c cross join aclexplode(c.relacl) as acl
            where c.relnamespace = to_regnamespace('{schema}') and c.relname = any ('{<tables>}')
              and acl.privilege_type = 'SELECT' and acl.grantee <> c.relowner
        loop
            execute format('grant select on {schema}.%I to %s', 'read_' || may.relname, may.grantee);
            execute 'grant execute on function {schema}.mask_text(text) to ' || may.grantee;
        end loop;
    end
    $body$
    """.replace("<tables>", ",".join(_VIEWS))

_OF_VIEWS = {
    "outbox": "Messages as relay list and show read them / relay list 与 show 读取的消息",
    "call": "Calls as relay status and show read them / relay status 与 show 读取的调用",
    "attempt": "What calls meant for messages, as relay show reads it / relay show 读取的发送结果",
    "pause": "Pauses as relay status reads them / relay status 读取的暂停",
    "outbox_archive": "Archived messages as relay show reads them / relay show 读取的已归档消息",
    "call_archive": "Archived calls as relay show reads them / relay show 读取的已归档调用",
    "attempt_archive": "Archived outcomes as relay show reads them / relay show 读取的已归档发送结果",
    "pause_past": "Pauses that have ended, as the dashboard reads them / 监控页面读取的已结束暂停",
    "action": "The ledger as the dashboard reads it / 监控页面读取的操作记录",
    "pace": "When the next call of an app key may go / 各应用下一次调用的最早时间",
    "dedupe": "Dedupe keys of messages that left the outbox / 已离开发件箱的消息的去重键",
}
_PAUSED = COMMENTS["audit_pause"] | {"db_user": "Database user who ordered it / 下令的数据库用户"}
_OF_COLUMNS = {
    "outbox": COMMENTS["audit_message"]
    | {
        "target_group": "Field of the platform's API / 平台接口的 target_group 字段",
        "target_app_key": "Field of the platform's API / 平台接口的 target_app_key 字段",
        "content_sha256": (
            "SHA-256 of a secret salt and the exact text inserted (UTF-8), hex / "
            "秘密盐值加写入时原文（UTF-8）的 SHA-256"
        ),
    },
    "call": COMMENTS["audit_call"] | {"created_by": CREATED_BY},
    "attempt": COMMENTS["audit_delivery"],
    "pause": _PAUSED,
    "pause_past": _PAUSED
    | {
        "ended_at": "When it ended / 结束时间",
        "ended_by": "Database user who ended it / 结束该暂停的数据库用户",
        "ended": "by itself, lifted or replaced / 自行到期、被解除或被替换",
    },
    "action": COMMENTS["audit_action"],
    "pace": {
        "app_key": "App key of the platform / 平台应用标识",
        "next_at": "Not before / 最早时间",
        "db_user": "Database user who moved it furthest / 推迟最多的数据库用户",
        "step": "By how much / 推迟的时长",
    },
    "dedupe": {
        "account": COMMENTS["audit_message"]["account"],
        "dedupe_key": COMMENTS["audit_message"]["dedupe_key"],
        "message_id": "Message that had it / 使用该去重键的消息",
        "left_at": "When it left the outbox / 离开发件箱的时间",
    },
}
_COLUMNS = {
    "outbox": (
        "id status topic account target_group target_app_key ordering_key dedupe_key producer content_characters "
        "content_sha256 attempts call_id result_index error_code error_message available_at held deliver_before "
        "created_at created_by finished_at"
    ),
    "call": (
        "id account worker message_ids parent_id claimed_at lease_until sent_at settled_at outcome http_status "
        "request_id error_code sub_code error_message request_bytes duration_ms created_by"
    ),
    "attempt": "message_id call_id result_index outcome error_code error_message at retry_at",
    "pause": "scope until reason error_code since by db_user",
    "pause_past": "scope until reason error_code since by db_user ended_at ended_by ended",
    "action": "id at actor db_user action reason selection message_ids count",
    "pace": "app_key next_at db_user step",
    "dedupe": "account dedupe_key message_id left_at",
}


def _comment(thing: str, words: str) -> str:
    return f"comment on {thing} is '" + words.replace("'", "''") + "'"


UPGRADE: tuple[str, ...] = (
    *(text.replace("<table>", table) for table, text in _VIEWS.items()),
    *(_comment(f"view {{schema}}.read_{table}", words) for table, words in _OF_VIEWS.items()),
    *(
        _comment(f"column {{schema}}.read_{table}.{column}", _OF_COLUMNS[table.removesuffix("_archive")][column])
        for table in _VIEWS
        for column in _COLUMNS[table.removesuffix("_archive")].split()
    ),
    _GRANT,
)

DOWNGRADE: tuple[str, ...] = tuple(f"drop view {{schema}}.read_{table}" for table in _VIEWS)
