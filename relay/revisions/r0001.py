"""Revision 0001: the outbox, its calls and attempts, pauses, the operator ledger. Frozen: never edit, add one."""

from __future__ import annotations

REVISION = "0001"
DOWN_REVISION: str | None = None

# One statement an entry; {schema} stands for the quoted name of the schema. No percent sign anywhere: Alembic prints it
# twice into offline scripts.
UPGRADE = (
    r"""
    create domain {schema}.content as json
        constraint content_is_an_object_within_limit
        check (json_typeof(value) = 'object' and length(value::text) <= 122880)
    """,
    r"""
    create table {schema}.outbox (
        id bigint generated always as identity,
        topic text not null,
        content {schema}.content not null,
        account text not null default 'default',
        target_group text,
        target_app_key text,
        json_ex_content json,
        ordering_key text,
        dedupe_key text,
        available_at timestamptz not null default now(),
        deliver_before timestamptz,
        producer text,
        headers json,
        status text not null default 'pending',
        attempts integer not null default 0,
        call_id bigint,
        result_index smallint,
        error_code text,
        error_message text,
        created_at timestamptz not null default now(),
        finished_at timestamptz,
        created_by name not null default session_user,
        created_xid xid8 not null default pg_current_xact_id(),
        constraint outbox_pkey primary key (id),
        constraint outbox_topic_within_limit check (length(topic) <= 256 and topic ~ '\S'),
        constraint outbox_account_not_blank check (account ~ '\S'),
        constraint outbox_ordering_key_not_empty check (ordering_key <> ''),
        constraint outbox_status_known check (status in ('pending', 'done', 'failed')),
        constraint outbox_attempts_not_negative check (attempts >= 0),
        constraint outbox_finished_when_not_pending check ((status = 'pending') = (finished_at is null)),
        constraint outbox_done_names_its_call
            check (status <> 'done' or (call_id is not null and result_index is not null))
    ) with (fillfactor = 60)
    """,
    r"""
    create index outbox_due on {schema}.outbox (account, available_at, id)
        where status = 'pending' and ordering_key is null
    """,
    r"""
    create index outbox_heads on {schema}.outbox (account, ordering_key, id)
        where status = 'pending' and ordering_key is not null
    """,
    r"""
    create unique index outbox_dedupe on {schema}.outbox (account, dedupe_key) where dedupe_key is not null
    """,
    r"""
    create index outbox_failed on {schema}.outbox (error_code, id) where status = 'failed'
    """,
    r"""
    create table {schema}.call (
        id bigint generated always as identity,
        account text not null,
        worker text not null,
        message_ids bigint[] not null,
        parent_id bigint,
        claimed_at timestamptz not null default now(),
        lease_until timestamptz not null,
        sent_at timestamptz,
        settled_at timestamptz,
        outcome text,
        http_status smallint,
        request_id text,
        error_code text,
        sub_code text,
        error_message text,
        request_bytes integer,
        duration_ms integer,
        constraint call_pkey primary key (id),
        constraint call_names_messages check (cardinality(message_ids) > 0),
        constraint call_outcome_known check (outcome in ('ok', 'partial', 'rejected', 'unknown', 'released')),
        constraint call_settled_has_outcome check ((settled_at is null) = (outcome is null))
    )
    """,
    r"""
    create index call_open on {schema}.call (lease_until, id) where settled_at is null
    """,
    r"""
    create index call_request_id on {schema}.call (request_id) where request_id is not null
    """,
    r"""
    create table {schema}.attempt (
        message_id bigint not null,
        call_id bigint not null,
        result_index smallint not null,
        outcome text not null,
        error_code text,
        error_message text,
        at timestamptz not null default now(),
        retry_at timestamptz,
        constraint attempt_pkey primary key (message_id, call_id),
        constraint attempt_outcome_known check (outcome in ('retry', 'failed', 'unknown'))
    )
    """,
    r"""
    create index attempt_unknown on {schema}.attempt (at, message_id) where outcome = 'unknown'
    """,
    r"""
    create table {schema}.pause (
        scope text not null,
        until timestamptz,
        reason text not null,
        error_code text,
        credential text,
        since timestamptz not null default now(),
        by text not null,
        constraint pause_pkey primary key (scope),
        constraint pause_scope_known check (scope ~ '^(account|app):.')
    )
    """,
    r"""
    create table {schema}.action (
        id bigint generated always as identity,
        at timestamptz not null default now(),
        actor text not null,
        db_user name not null default session_user,
        action text not null,
        reason text not null,
        selection json,
        message_ids bigint[],
        count integer not null,
        constraint action_pkey primary key (id),
        constraint action_reason_given check (reason ~ '\S')
    )
    """,
    # The triggers fire only when an UPDATE names one of their columns: settling names none of the first two lists.
    r"""
    create function {schema}.refuse_change() returns trigger language plpgsql as $body$
    begin
        if tg_argv[0] = 'redactable' and current_setting('relay.redacting', true) = 'on' then
            return new;
        end if;
        raise exception using
            errcode = 'restrict_violation',
            message = 'what was inserted into ' || tg_table_schema || '.' || tg_table_name || ' stays as it is',
            hint = 'Insert a new message instead. A content is removed with: relay redact';
    end
    $body$
    """,
    r"""
    create trigger outbox_facts_stay
        before update of id, topic, account, target_group, target_app_key, ordering_key, dedupe_key, producer,
            created_at, created_by, created_xid on {schema}.outbox
        for each row execute function {schema}.refuse_change('fixed')
    """,
    r"""
    create trigger outbox_texts_stay
        before update of content, json_ex_content, headers on {schema}.outbox
        for each row execute function {schema}.refuse_change('redactable')
    """,
    r"""
    create function {schema}.refuse_undoing() returns trigger language plpgsql as $body$
    begin
        raise exception using
            errcode = 'restrict_violation',
            message = 'message ' || old.id || ' is done, and done is final',
            hint = 'To send it once more, insert it as a new message.';
    end
    $body$
    """,
    r"""
    create trigger outbox_done_is_final
        before update of status on {schema}.outbox
        for each row when (old.status = 'done' and new.status <> 'done')
        execute function {schema}.refuse_undoing()
    """,
    r"""
    create trigger attempt_is_append_only
        before update on {schema}.attempt
        for each row execute function {schema}.refuse_change('fixed')
    """,
    r"""
    create trigger action_is_append_only
        before update or delete on {schema}.action
        for each row execute function {schema}.refuse_change('fixed')
    """,
)

DOWNGRADE = (
    "drop table {schema}.action",
    "drop table {schema}.pause",
    "drop table {schema}.attempt",
    "drop table {schema}.call",
    "drop table {schema}.outbox",
    "drop function {schema}.refuse_undoing()",
    "drop function {schema}.refuse_change()",
    "drop domain {schema}.content",
)
