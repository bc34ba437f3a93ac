"""Revision 0006: an archive for what finished, by the month (UTC). Frozen: never edit, add one.

Three tables with the columns of the hot ones, partitioned by when a message finished: its attempts carry that time with
them, a call the time of its last message. So a month is whole: dropping it takes away nothing that belongs to a message
of another month. A row moves in one statement, so it is in exactly one place for every snapshot.

While one of a call's messages is in ``outbox``, the call is in ``call``; attempts are always where their message is.
"""

from __future__ import annotations

from relay.revisions import r0006_functions, r0006_views

REVISION = "0006"
DOWN_REVISION: str | None = "0005"

TABLES = (
    # The checks were made when it was inserted. Nothing here is unique but an id: a dedupe key is remembered in outbox.
    r"""
    create table {schema}.outbox_archive (
        id bigint not null,
        topic text not null,
        content {schema}.content not null,
        account text not null,
        target_group text,
        target_app_key text,
        json_ex_content json,
        ordering_key text,
        dedupe_key text,
        available_at timestamptz not null,
        deliver_before timestamptz,
        producer text,
        headers json,
        status text not null,
        attempts integer not null,
        call_id bigint,
        result_index smallint,
        error_code text,
        error_message text,
        created_at timestamptz not null,
        finished_at timestamptz not null,
        created_by name not null,
        created_xid xid8 not null,
        content_sha256 bytea not null,
        constraint outbox_archive_pkey primary key (id, finished_at)
    ) partition by range (finished_at)
    """,
    r"""
    create index outbox_archive_failed on {schema}.outbox_archive (error_code, id) where status = 'failed'
    """,
    r"""
    create index outbox_archive_created on {schema}.outbox_archive using brin (created_at)
        with (pages_per_range = 32, autosummarize = on)
    """,
    r"""
    create table {schema}.call_archive (
        id bigint not null,
        account text not null,
        worker text not null,
        message_ids bigint[] not null,
        parent_id bigint,
        claimed_at timestamptz not null,
        lease_until timestamptz not null,
        sent_at timestamptz,
        settled_at timestamptz not null,
        outcome text not null,
        http_status smallint,
        request_id text,
        error_code text,
        sub_code text,
        error_message text,
        request_bytes integer,
        duration_ms integer,
        finished_at timestamptz not null,
        constraint call_archive_pkey primary key (id, finished_at)
    ) partition by range (finished_at)
    """,
    r"""
    create index call_archive_request_id on {schema}.call_archive (request_id) where request_id is not null
    """,
    r"""
    create table {schema}.attempt_archive (
        message_id bigint not null,
        call_id bigint not null,
        result_index smallint not null,
        outcome text not null,
        error_code text,
        error_message text,
        at timestamptz not null,
        retry_at timestamptz,
        finished_at timestamptz not null,
        constraint attempt_archive_pkey primary key (message_id, call_id, finished_at)
    ) partition by range (finished_at)
    """,
    r"""
    create index attempt_archive_unknown on {schema}.attempt_archive (at, message_id) where outcome = 'unknown'
    """,
    r"""
    comment on table {schema}.outbox_archive is
        'Finished messages, by the month in which they finished (UTC) / 已结束的消息，按结束月份（UTC）分区'
    """,
    r"""
    comment on table {schema}.call_archive is
        'Their calls, by the month in which the last message finished / 相应的调用，按其最后一条消息的结束月份分区'
    """,
    r"""
    comment on table {schema}.attempt_archive is
        'Their attempts, by the month in which the message finished / 相应的发送结果，按消息的结束月份分区'
    """,
)

# Row triggers come down to every partition by themselves; a trigger on TRUNCATE is made with each partition.
GUARDS = (
    r"""
    create function {schema}.keep_archive() returns trigger language plpgsql as $body$
    begin
        raise exception using
            errcode = 'restrict_violation',
            message = 'nothing is removed from ' || tg_table_schema || '.' || tg_table_name,
            hint = 'A month goes as a whole, with: relay archive --drop';
    end
    $body$
    """,
    *(
        f"create trigger {table}_archive_is_not_removed before delete on {{schema}}.{table}_archive "
        "for each row execute function {schema}.keep_archive()"
        for table in ("outbox", "call", "attempt")
    ),
    *(
        f"create trigger {table}_archive_is_not_emptied before truncate on {{schema}}.{table}_archive "
        "for each statement execute function {schema}.keep_archive()"
        for table in ("outbox", "call", "attempt")
    ),
    *(
        f"create trigger {table}_archive_is_append_only before update on {{schema}}.{table}_archive "
        "for each row execute function {schema}.refuse_change('fixed')"
        for table in ("call", "attempt")
    ),
    r"""
    create trigger outbox_archive_facts_stay
        before update of id, topic, account, target_group, target_app_key, ordering_key, dedupe_key, available_at,
            deliver_before, producer, status, attempts, call_id, result_index, error_code, error_message, created_at,
            finished_at, created_by, created_xid, content_sha256 on {schema}.outbox_archive
        for each row execute function {schema}.refuse_change('fixed')
    """,
    r"""
    create trigger outbox_archive_texts_stay
        before update of content, json_ex_content, headers on {schema}.outbox_archive
        for each row execute function {schema}.refuse_change('redactable')
    """,
    r"""
    create trigger outbox_is_not_removed
        before delete or truncate on {schema}.outbox
        for each statement execute function {schema}.refuse_removal('prunable')
    """,
)

UPGRADE = (*TABLES, *GUARDS, *r0006_functions.UPGRADE, *r0006_views.UPGRADE)

DOWNGRADE = (
    # Moving rows back would hash redacted contents anew and meet dedupe keys that were used again.
    r"""
    do $body$
    begin
        if exists (select from {schema}.outbox_archive) or exists (select from {schema}.call_archive) then
            raise exception using
                errcode = 'restrict_violation',
                message = 'the archive holds rows, and this revision cannot be taken back while it does',
                hint = 'Export what you need and remove the months with: relay archive --drop';
        end if;
    end
    $body$
    """,
    *r0006_views.DOWNGRADE,
    *r0006_functions.DOWNGRADE,
    "drop trigger outbox_is_not_removed on {schema}.outbox",
    "drop table {schema}.attempt_archive",
    "drop table {schema}.call_archive",
    "drop table {schema}.outbox_archive",
    "drop function {schema}.keep_archive()",
)
