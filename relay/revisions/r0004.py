"""Revision 0004: evidence, masking, audit views, operators' functions. Frozen: never edit, add one.

What is in the tables stays provable: the hash of each content is taken at its insert, a settled call and the history
stay as they are. Views that show no raw content are an interface for auditors; the texts are in the modules beside
this one.
"""

from __future__ import annotations

from relay.revisions import r0004_comments, r0004_functions, r0004_masking, r0004_views

REVISION = "0004"
DOWN_REVISION: str | None = "0003"

EVIDENCE = (
    "alter table {schema}.outbox add column content_sha256 bytea",
    r"""
    update {schema}.outbox set content_sha256 = sha256(convert_to(cast(content as text), 'UTF8'))
    """,
    "alter table {schema}.outbox alter column content_sha256 set not null",
    # Taken here and not as a default or a generated column: nobody who inserts can name another value, and
    # convert_to is not immutable.
    r"""
    create function {schema}.keep_evidence() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    begin
        new.content_sha256 := sha256(convert_to(cast(new.content as text), 'UTF8'));
        return new;
    end
    $body$
    """,
    r"""
    create trigger outbox_keeps_evidence
        before insert on {schema}.outbox
        for each row execute function {schema}.keep_evidence()
    """,
    r"""
    create trigger outbox_evidence_stays
        before update of content_sha256 on {schema}.outbox
        for each row execute function {schema}.refuse_change('fixed')
    """,
    r"""
    create trigger call_settled_is_final
        before update on {schema}.call
        for each row when (old.settled_at is not null)
        execute function {schema}.refuse_change('fixed')
    """,
    # The setting keeps away accidents; against intent there are rights: no role of the relay may delete these.
    r"""
    create function {schema}.refuse_removal() returns trigger language plpgsql as $body$
    begin
        if tg_op = 'DELETE' and tg_argv[0] = 'prunable' and current_setting('relay.pruning', true) = 'on' then
            return null;
        end if;
        raise exception using
            errcode = 'restrict_violation',
            message = 'nothing is removed from ' || tg_table_schema || '.' || tg_table_name,
            hint = 'What finished long ago is removed with: relay prune';
    end
    $body$
    """,
    r"""
    create trigger call_is_not_removed
        before delete or truncate on {schema}.call
        for each statement execute function {schema}.refuse_removal('prunable')
    """,
    r"""
    create trigger attempt_is_not_removed
        before delete or truncate on {schema}.attempt
        for each statement execute function {schema}.refuse_removal('prunable')
    """,
    r"""
    create trigger action_is_not_removed
        before delete or truncate on {schema}.action
        for each statement execute function {schema}.refuse_removal('never')
    """,
    # Questions about a day. Ids and times grow together, so this index has a few kilobytes.
    r"""
    create index outbox_created on {schema}.outbox using brin (created_at) with (autosummarize = on)
    """,
)

UPGRADE = (
    *EVIDENCE,
    *r0004_masking.UPGRADE,
    *r0004_views.UPGRADE,
    *r0004_functions.UPGRADE,
    *r0004_comments.UPGRADE,
)

DOWNGRADE = (
    *r0004_functions.DOWNGRADE,
    *r0004_views.DOWNGRADE,
    *r0004_masking.DOWNGRADE,
    "drop index {schema}.outbox_created",
    "drop trigger action_is_not_removed on {schema}.action",
    "drop trigger attempt_is_not_removed on {schema}.attempt",
    "drop trigger call_is_not_removed on {schema}.call",
    "drop function {schema}.refuse_removal()",
    "drop trigger call_settled_is_final on {schema}.call",
    "drop trigger outbox_evidence_stays on {schema}.outbox",
    "drop trigger outbox_keeps_evidence on {schema}.outbox",
    "drop function {schema}.keep_evidence()",
    "alter table {schema}.outbox drop column content_sha256",
    r0004_views.BLOCKED_KEYS_BEFORE,
)
