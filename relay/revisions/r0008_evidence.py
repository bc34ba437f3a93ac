"""Revision 0008, hashes that give nothing away. Frozen once released: never edit, add one.

Whoever sees the plain SHA-256 of a text beside most of the text finds the rest by trying: a phone number is short. So
each row has a salt, a random UUID that no view shows and no role of the relay's is given, and the hash is taken of
both. With the content goes the salt: an empty one says that it is gone, and the hash stays as a fact without a key. No
salt at all (null) means that the hash is still the plain one of an earlier version; views do not show it, and
``catch_up`` (``r0008_catching_up``) takes it anew.

The setting ``relay.salting`` keeps accidents away, as ``relay.redacting`` does; against intent there are rights.
"""

from __future__ import annotations

from relay.revisions import r0004, r0004_comments, r0006, r0006_views

_SALTING = "coalesce(current_setting('relay.salting', true), '') = 'on'"
_GOES = """
    coalesce(current_setting('relay.redacting', true), '') = 'on' and new.content_sha256 = old.content_sha256
        and new.content_salt = ''
"""


def _found(begin: str, statements: tuple[str, ...]) -> str:
    (found,) = (text for text in statements if begin in text)
    return found


_ARCHIVE_FACTS = _found("create trigger outbox_archive_facts_stay", r0006.GUARDS)


def _evidence_stays(table: str) -> str:
    return f"""
    create trigger {table}_evidence_stays
        before update of content_sha256, content_salt on {{schema}}.{table}
        for each row when (not ({_SALTING} or {_GOES}))
        execute function {{schema}}.refuse_change('fixed')
    """


def _salt_goes(table: str) -> str:
    return f"""
    create trigger {table}_salt_goes
        before update of content on {{schema}}.{table}
        for each row when (new.content_salt is distinct from ''
            and coalesce(current_setting('relay.redacting', true), '') = 'on')
        execute function {{schema}}.refuse_keeping_salt()
    """


TABLES = (
    "alter table {schema}.outbox add column content_salt bytea",
    "alter table {schema}.outbox_archive add column content_salt bytea",
    "drop trigger outbox_evidence_stays on {schema}.outbox",
    _evidence_stays("outbox"),
    "drop trigger outbox_archive_facts_stay on {schema}.outbox_archive",
    _ARCHIVE_FACTS.replace("created_xid, content_sha256", "created_xid"),
    _evidence_stays("outbox_archive"),
    # A relay of the version before would leave the salt behind, and with it the way back to the content.
    r"""
    create function {schema}.refuse_keeping_salt() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    begin
        raise exception using
            errcode = 'restrict_violation',
            message = 'the salt of a hash goes with the content',
            hint = 'Use relay redact of the version that migrated these tables.';
    end
    $body$
    """,
    _salt_goes("outbox"),
    _salt_goes("outbox_archive"),
    # To delete is refused by the trigger of the statement, whatever is set.
    "drop trigger action_is_append_only on {schema}.action",
    f"""
    create trigger action_is_append_only
        before update on {{schema}}.action
        for each row when (not ({_SALTING})) execute function {{schema}}.refuse_change('fixed')
    """,
)

FUNCTIONS = (
    # A plain hash that does not fit its content stays one that does not fit: it is hashed itself. So is that of a
    # content that is gone, and then nobody can compare it with anything any more.
    r"""
    create function {schema}.salt_messages(ids bigint[]) returns integer language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        salted integer;
        archived integer;
        door text := coalesce(current_setting('relay.salting', true), '');
    begin
        perform set_config('relay.salting', 'on', true);
        update outbox o
        set content_salt = case when cast(o.content as text) = '{"redacted": true}' then '' else fresh.salt end,
            content_sha256 = sha256(fresh.salt
                || case when sha256(convert_to(cast(o.content as text), 'UTF8')) = o.content_sha256
                        then convert_to(cast(o.content as text), 'UTF8') else o.content_sha256 end)
        from (select id, uuid_send(gen_random_uuid()) as salt from unnest(ids) as id offset 0) as fresh
        where o.id = fresh.id and o.content_salt is null;
        get diagnostics salted = row_count;
        update outbox_archive o
        set content_salt = case when cast(o.content as text) = '{"redacted": true}' then '' else fresh.salt end,
            content_sha256 = sha256(fresh.salt
                || case when sha256(convert_to(cast(o.content as text), 'UTF8')) = o.content_sha256
                        then convert_to(cast(o.content as text), 'UTF8') else o.content_sha256 end)
        from (select id, uuid_send(gen_random_uuid()) as salt from unnest(ids) as id offset 0) as fresh
        where o.id = fresh.id and o.content_salt is null;
        get diagnostics archived = row_count;
        perform set_config('relay.salting', door, true);
        return salted + archived;
    end
    $body$
    """,
    # For whoever kept a copy: the owner, or a login that the owner lets. It answers guesses, so each one is recorded,
    # and answered in a later transaction only: whoever had the answer could else take the record back. What is recorded
    # of the text is a hash that nobody without the salt can try texts against, and that is none of any content.
    r"""
    create function {schema}.ask_content(id bigint, content text, reason text) returns bigint language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        salt bytea;
        said bytea := convert_to('asked ' || ask_content.content, 'UTF8');
        question bigint;
    begin
        select m.content_salt into salt
        from (
            select o.id, o.content_salt from outbox o union all select a.id, a.content_salt from outbox_archive a
        ) as m
        where m.id = ask_content.id;
        if found and salt is null then
            raise exception using
                errcode = 'object_not_in_prerequisite_state',
                message = concat('the hash of message ', ask_content.id, ' has no salt yet'),
                hint = 'Let relay migrate go on until relay check says that none is left.';
        end if;
        insert into action (actor, action, reason, selection, message_ids, count)
        values (session_user, 'compare', ask_content.reason, json_build_object(
            'asked_sha256', encode(sha256(nullif(salt, '') || said), 'hex'),
            'xid', cast(pg_current_xact_id() as text)), array[ask_content.id], 1)
        returning action.id into question;
        return question;
    end
    $body$
    """,
    r"""
    create function {schema}.content_is(question bigint) returns boolean language plpgsql stable
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        asked record;
        same boolean;
    begin
        select a.message_ids[1] as message_id, a.selection ->> 'asked_sha256' as sha256 into asked
        from action a
        where a.id = question and a.action = 'compare' and a.db_user = session_user
          and a.selection ->> 'xid' is distinct from cast(pg_current_xact_id_if_assigned() as text);
        if not found then
            raise exception using
                errcode = 'object_not_in_prerequisite_state',
                message = concat('you have asked no question ', question, ' that is committed'),
                hint = 'Commit relay.ask_content(id, content, reason) first; it gives back the number.';
        end if;
        select encode(sha256(m.content_salt || convert_to('asked ' || cast(m.content as text), 'UTF8')), 'hex')
            = asked.sha256 into same
        from (
            select o.id, o.content, o.content_salt from outbox o
            union all
            select a.id, a.content, a.content_salt from outbox_archive a
        ) as m
        where m.id = asked.message_id and m.content_salt <> '';
        return same;
    end
    $body$
    """,
    r"""
    revoke execute on function {schema}.salt_messages(bigint[]), {schema}.ask_content(bigint, text, text),
        {schema}.content_is(bigint) from public
    """,
)

_HASH = "encode(o.content_sha256, 'hex') as content_sha256"
_SHOWN = "case when o.content_salt is not null then encode(o.content_sha256, 'hex') end as content_sha256"
_INTEGRITY = {
    _HASH: _SHOWN,
    "encode(found.sha256, 'hex') as found_sha256": (
        "case when o.content_salt is not null then encode(found.sha256, 'hex') end as found_sha256"
    ),
    "select sha256(convert_to(cast(o.content as text), 'UTF8')) as sha256": (
        "select sha256(coalesce(o.content_salt, '') || convert_to(cast(o.content as text), 'UTF8')) as sha256"
    ),
    "json_each(action.selection -> 'sha256')": (
        "json_each(coalesce(action.selection -> 'salted_sha256', action.selection -> 'sha256'))"
    ),
}


def _view(name: str, replacing: dict[str, str]) -> str:
    text = _found(f"create or replace view {{schema}}.{name} ", r0006_views.UPGRADE)
    for before, after in replacing.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


# Any other text there would be shown as it is.
_TRACE = {'"([0-9a-f-]+)"': '"([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"'}
# What a call got is shown of a message that the call names: which call ended it is the word of whoever settled.
_OF_A_CALL = {"where id = o.call_id": "where id = o.call_id and o.id = any (message_ids)"}

# An application may leave the time of a message at '-infinity', for which most readers have no form.
_FINITE = {"nullif(a.retry_at, 'infinity')": "nullif(nullif(a.retry_at, 'infinity'), '-infinity')"}
# A view made with * would depend on the salt for as long as it is there.
_COLUMNS_BEFORE = (
    "id, topic, content, account, target_group, target_app_key, json_ex_content, ordering_key, dedupe_key, "
    "available_at, deliver_before, producer, headers, status, attempts, call_id, result_index, error_code, "
    "error_message, created_at, finished_at, created_by, created_xid, content_sha256"
)
_WITHOUT_SALT = {"select * from": " ".join(("select", _COLUMNS_BEFORE, "from"))}

VIEWS = (
    _view("audit_message", {_HASH: _SHOWN} | _TRACE),
    _view("audit_integrity", _INTEGRITY),
    _view("audit_failure", _OF_A_CALL),
    _view("audit_possible_duplicate", _OF_A_CALL),
    _view("audit_delivery", _WITHOUT_SALT | _FINITE),
)

_COMMENTS = {
    ("audit_message", "content_sha256"): (
        "SHA-256 of a secret salt and the exact text inserted (UTF-8), hex / 秘密盐值加写入时原文（UTF-8）的 SHA-256"
    ),
    ("audit_integrity", "content_sha256"): "Taken at the insert, with a secret salt / 写入时加盐的 SHA-256",
    ("audit_integrity", "found_sha256"): (
        "Of the text that is there now, with the same salt / 现存内容加同一盐值的 SHA-256"
    ),
}
COMMENTS = tuple(
    f"comment on column {{schema}}.{view}.{column} is '{comment}'" for (view, column), comment in _COMMENTS.items()
)
_COMMENTS_BEFORE = tuple(
    text for text in r0004_comments.UPGRADE if any(f".{view}.{column} is" in text for view, column in _COMMENTS)
)

UPGRADE: tuple[str, ...] = (*TABLES, *FUNCTIONS, *VIEWS, *COMMENTS)

_KEY_BEFORE = """
    update {schema}.action set selection = cast((cast(selection as jsonb) - 'salted_sha256')
        || jsonb_build_object('sha256', selection -> 'salted_sha256') as json)
    where action = 'redact' and selection -> 'salted_sha256' is not null
    """
# What was intact is so by the plain hash; what is redacted keeps the hash that its row in the ledger has.
_HASHES_BEFORE = """
    update {schema}.TABLE set content_sha256 = sha256(convert_to(cast(content as text), 'UTF8'))
    where content_salt <> '' and content_sha256 = sha256(content_salt || convert_to(cast(content as text), 'UTF8'))
    """
_VIEWS_BEFORE = tuple(
    _view(view, _WITHOUT_SALT)
    for view in ("audit_message", "audit_integrity", "audit_failure", "audit_possible_duplicate", "audit_delivery")
)

DOWNGRADE: tuple[str, ...] = (
    *_COMMENTS_BEFORE,
    *_VIEWS_BEFORE,
    "drop function {schema}.content_is(bigint)",
    "drop function {schema}.ask_content(bigint, text, text)",
    "drop function {schema}.salt_messages(bigint[])",
    "drop trigger action_is_append_only on {schema}.action",
    _KEY_BEFORE,
    "create trigger action_is_append_only before update or delete on {schema}.action "
    "for each row execute function {schema}.refuse_change('fixed')",
    "drop trigger outbox_archive_salt_goes on {schema}.outbox_archive",
    "drop trigger outbox_salt_goes on {schema}.outbox",
    "drop function {schema}.refuse_keeping_salt()",
    "drop trigger outbox_archive_evidence_stays on {schema}.outbox_archive",
    "drop trigger outbox_archive_facts_stay on {schema}.outbox_archive",
    "drop trigger outbox_evidence_stays on {schema}.outbox",
    _HASHES_BEFORE.replace("TABLE", "outbox_archive"),
    _HASHES_BEFORE.replace("TABLE", "outbox"),
    _ARCHIVE_FACTS,
    _found("create trigger outbox_evidence_stays", r0004.EVIDENCE),
    "alter table {schema}.outbox_archive drop column content_salt",
    "alter table {schema}.outbox drop column content_salt",
)
