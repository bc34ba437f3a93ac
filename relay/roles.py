"""Who may do what in the database, as SQL that an administrator reads and then runs. Idempotent, one transaction.

Roles without a login; people and programs become members of them. Rights are taken away first and then given, so that
running it again leaves exactly what is written here, and new views and tables of a later revision find their owner.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from relay.outbox.columns import Columns
from relay.sessions import script_begins
from relay.sql import VERSION_TABLE, quoted
from relay.windows import WINDOWS, WORKERS

VIEWS = (
    "audit_action",
    "audit_backlog",
    "audit_call",
    "audit_daily",
    "audit_delivery",
    "audit_failure",
    "audit_in_flight",
    "audit_integrity",
    "audit_message",
    "audit_pause",
    "audit_possible_duplicate",
    "blocked_keys",
)
MAY = {
    "owner": "own tables, views, functions: relay migrate, redact, prune, archive, show --reveal, all commands",
    "app": "insert messages and learn their ids; read and change nothing",
    "worker": "read messages, write what became of them, archive them; change no content, delete no history",
    "auditor": "read the views, in which personal data is masked: relay status, list, show, export",
    "operator": "the same, and relay retry, discard, pause, resume or the functions behind them",
    "metrics": "read the view audit_backlog",
    "dashboard": "read the views, as an auditor does, and call nothing: relay dashboard, status, list, show; "
    "a login of this role and of operator: relay dashboard --allow-actions",
}
# What a worker reads beside what an application inserts: all but the salt, with which hashes answer guesses. By xmax a
# claim tells a row that nobody has locked yet.
_KEPT = (
    "xmax",
    "id", "status", "attempts", "call_id", "result_index", "error_code", "error_message", "created_at", "finished_at",
    "created_by", "created_xid", "content_sha256",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RoleNames:
    """What the roles are called in this cluster."""

    owner: str = "relay_owner"
    app: str = "relay_app"
    worker: str = "relay_worker"
    auditor: str = "relay_auditor"
    operator: str = "relay_operator"
    metrics: str = "relay_metrics"
    dashboard: str = "relay_dashboard"


_HEAD = """\
-- Least privilege for the relay. Run it after each relay migrate, as a superuser or as the owner of the relay's tables,
-- for example:
--     relay roles --sql | psql -v ON_ERROR_STOP=1 ...
-- Only the first run creates roles, so let a superuser do that one. An owner who is to do it alone needs createrole,
-- and nocreaterole right after: before PostgreSQL 16 that is as good as being a superuser, for with it a login makes
-- itself a member of any role but a superuser, also of those that run programs on the server and read its files.
-- Then let logins be members: grant {app} to shop. Migrations are for members of {owner}. The login of a dashboard on
-- which people act is a member of two: grant {dashboard} to cockpit; grant {operator} to cockpit.
begin;
-- Nobody else's function or operator has a part in this, and a text means what it says.
{session};
"""

_MAY_CREATE = """
do $roles$
declare
    missing text := (select string_agg(format('create role %I nologin', name), '; ') from unnest({literals}) as name
        where not exists (select from pg_roles where rolname = name));
begin
    if missing is not null and not (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) then
        raise exception using errcode = 'insufficient_privilege',
            message = current_user || ' may not create roles',
            hint = format('Let a superuser run this script; or: %s; grant %I to %I',
                missing, {owner_name}, current_user);
    end if;
end $roles$;
"""

_CREATE = """
do $roles$ begin
    if not exists (select from pg_roles where rolname = {literal}) then
        create role {role} nologin;
    end if;
end $roles$;
"""

# Only a member can hand things to a role. From 16 on, who made a role is none yet but may make itself one; before,
# any login that may create roles may. It stays one: the next migration is its own.
_JOIN = """
do $roles$
declare
    later boolean := current_setting('server_version_num') >= '160000';
begin
    if not (pg_has_role({owner_name}, 'usage')
            and pg_has_role({owner_name}, case when later then 'set' else 'member' end)) then
        execute format('grant %I to %I', {owner_name}, current_user)
            || case when later then ' with inherit true, set true' else '' end;
    end if;
exception when insufficient_privilege then
    raise exception using errcode = 'insufficient_privilege',
        message = format('%s is no member of %s and may not become one', current_user, {owner_name}),
        hint = format('Let a superuser, or the creator of that role, run: grant %I to %I', {owner_name}, current_user);
end $roles$;
"""

# The schema itself comes last: before 16, a member that does not inherit could find nothing in it any more.
_OWN = """
do $roles$
declare
    here regnamespace := to_regnamespace({schema_literal});
    thing record;
begin
    if here is null then
        raise exception using errcode = 'invalid_schema_name',
            message = 'there is no schema ' || {schema_literal}, hint = 'Run: relay migrate';
    end if;
    for thing in
        select 'table ' || cast(oid as regclass) as name, relowner as owner, 1 as turn from pg_class
        where relnamespace = here and relkind in ('r', 'p', 'v')
        union all
        select 'routine ' || cast(oid as regprocedure), proowner, 1 from pg_proc where pronamespace = here
        union all
        select 'domain ' || cast(oid as regtype), typowner, 1 from pg_type where typnamespace = here and typtype = 'd'
        union all
        select 'schema ' || here, nspowner, turn from pg_namespace, unnest(array[0, 2]) as turn where oid = here
        order by turn
    loop
        continue when pg_get_userbyid(thing.owner) = {owner_name};
        if not pg_has_role(thing.owner, 'usage') then
            raise exception using errcode = 'insufficient_privilege',
                message = format('%s belongs to %s, and %s may not hand it over',
                    thing.name, pg_get_userbyid(thing.owner), current_user),
                hint = format('Run this as %s or as a superuser.', pg_get_userbyid(thing.owner));
        end if;
        if thing.name like 'schema %' and not has_database_privilege(current_database(), 'create') then
            raise exception using errcode = 'insufficient_privilege',
                message = format('%s may not hand over a schema of the database %s', current_user, current_database()),
                hint = format('Let its owner or a superuser run: grant create on database %I to %I',
                    current_database(), current_user);
        end if;
        if thing.turn = 0 then
            execute 'grant usage, create on ' || thing.name || ' to ' || {owner_literal};
        else
            execute 'alter ' || thing.name || ' owner to ' || {owner_literal};
        end if;
    end loop;
end $roles$;
"""

# As the owner: before 16, a member that does not inherit has its rights in no other way.
_GRANT = """
set local role {owner};
revoke all on schema {schema} from public, {others};
revoke all on all tables in schema {schema} from public, {others};
revoke all on all sequences in schema {schema} from public, {others};
revoke all on all routines in schema {schema} from public, {others};
-- Who may use a type may have a table of their own that depends on it, which a migration then cannot change.
do $types$
declare
    kind text;
begin
    for kind in
        select format_type(t.oid, null) from pg_type t left join pg_class c on c.oid = t.typrelid
        where t.typnamespace = to_regnamespace({schema_literal}) and t.typelem = 0
          and (t.typtype = 'd' or c.relkind in ('r', 'p', 'v'))
    loop
        execute 'revoke all on type ' || kind || ' from public, ' || {others_literal};
    end loop;
end $types$;
grant usage on schema {schema} to {others};

grant insert ({public_columns}), select (id) on {schema}.outbox to {app};

grant select ({read_columns}) on {schema}.outbox to {worker};
grant select on {schema}.{version_table}, {schema}.call, {schema}.attempt, {schema}.pause,
    {schema}.pace, {schema}.blocked_keys, {workers_windows} to {worker};
grant select (id, action) on {schema}.action to {worker};
grant execute on function {schema}.mask_text(text) to {worker};
grant update (status, attempts, call_id, result_index, error_code, error_message, available_at, finished_at)
    on {schema}.outbox to {worker};
grant insert (account, worker, message_ids, parent_id, lease_until, nonce),
    update (lease_until, sent_at, settled_at, outcome, http_status, request_id, error_code, sub_code, error_message,
        request_bytes, duration_ms)
    on {schema}.call to {worker};
grant insert (message_id, call_id, result_index, outcome, error_code, error_message, retry_at)
    on {schema}.attempt to {worker};
grant insert (scope, until, reason, error_code, credential, by),
    update (until, reason, error_code, credential, by, since) on {schema}.pause to {worker};
grant insert (app_key, next_at), update (next_at) on {schema}.pace to {worker};
grant execute on function {schema}.archive_messages(timestamptz, integer, boolean, text, text, bigint),
    {schema}.archive_calls(timestamptz, integer, text, text, bigint), {schema}.sequences_left_behind(),
    {schema}.left_to_do(), {schema}.leave_out_expired(bigint, bigint), {schema}.lift_pauses(text[], text[]),
    {schema}.name_calls(), {schema}.nobody_names_calls(), {schema}.record_start(text, text, json) to {worker};

grant select on {views}, {windows} to {auditor}, {operator}, {dashboard};
grant execute on function {schema}.mask_text(text), {schema}.mask_value(jsonb), {schema}.mask_at(jsonb, text[]),
    {schema}.mask_content(json, text[]) to {auditor}, {operator}, {dashboard};
grant execute on function {schema}.latest_messages(integer) to {auditor}, {operator};

grant execute on function {schema}.retry(bigint[], text), {schema}.discard(bigint[], text),
    {schema}.pause_scope(text, timestamptz, text), {schema}.resume_scope(text, text),
    {schema}.find(text, text, text, text, text, text, interval, interval, bigint), {schema}.why_not(text, bigint[]),
    {schema}.retry(bigint[], text, text, json, double precision, bigint[]),
    {schema}.discard(bigint[], text, text, json, bigint[]),
    {schema}.pause_scope(text, timestamptz, text, text, json, timestamptz),
    {schema}.resume_scope(text, text, text, json, timestamptz)
    to {operator};

grant select on {schema}.audit_backlog to {metrics};
"""


def roles_sql(names: RoleNames, *, schema: str = "relay", owner_only: bool = False) -> str:
    """The script that makes the roles and gives each of them its rights in this schema.

    ``owner_only``: no role but the owner, which gets everything there is. That can be done at any revision; rights are
    given on what the newest one has.
    """
    by_part: dict[str, str] = asdict(names)
    made = [names.owner] if owner_only else list(by_part.values())
    roles = {part: quoted(name) for part, name in by_part.items()}
    others = ", ".join(role for part, role in roles.items() if part != "owner")
    words = {
        **roles,
        "session": script_begins()[1].replace("; ", ";\n"),
        "schema": quoted(schema),
        "schema_literal": _literal(quoted(schema)),
        "owner_literal": _literal(roles["owner"]),
        "owner_name": f"cast({_literal(names.owner)} as name)",
        "literals": f"array[{', '.join(map(_literal, made))}]",
        "others": others,
        "others_literal": _literal(others),
        "public_columns": ", ".join(("topic", "content", *Columns.__annotations__)),
        "read_columns": ", ".join(("topic", "content", *Columns.__annotations__, *_KEPT)),
        "version_table": VERSION_TABLE,
        "views": _listed(VIEWS, schema),
        "windows": _listed(WINDOWS, schema),
        "workers_windows": _listed(WORKERS, schema),
    }
    created = "".join(_CREATE.format(literal=_literal(name), role=quoted(name)) for name in made)
    head, may_create, join, own, grant = (
        part.format_map(words) for part in (_HEAD, _MAY_CREATE, _JOIN, _OWN, "" if owner_only else _GRANT)
    )
    return f"{head}{may_create}{created}{join}{own}{grant}commit;\n"


def _listed(views: Iterable[str], schema: str) -> str:
    return ", ".join(f"{quoted(schema)}.{view}" for view in views)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
