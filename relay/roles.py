"""Who may do what in the database, as SQL that an administrator reads and then runs. Idempotent, one transaction.

Roles without a login; people and programs become members of them. Rights are taken away first and then given, so that
running it again leaves exactly what is written here, and new views and tables of a later revision find their owner.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from relay.outbox.columns import Columns
from relay.revisions import VERSION_TABLE, quoted

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
    "auditor": "read the views, in which personal data is masked",
    "operator": "the same, and relay retry, discard, pause, resume or the functions behind them",
    "metrics": "read the view audit_backlog",
}


@dataclass(frozen=True, slots=True)
class RoleNames:
    """What the roles are called in this cluster."""

    owner: str = "relay_owner"
    app: str = "relay_app"
    worker: str = "relay_worker"
    auditor: str = "relay_auditor"
    operator: str = "relay_operator"
    metrics: str = "relay_metrics"


_HEAD = """\
-- Least privilege for the relay. Run it as a superuser after each relay migrate, for example:
--     relay roles --sql | psql -v ON_ERROR_STOP=1 ...
-- Then let logins be members: grant {app} to shop. Migrations by another login than a superuser begin with:
--     set role {owner}
begin;
"""

_CREATE = """
do $roles$ begin
    if not exists (select from pg_roles where rolname = {literal}) then
        create role {role} nologin;
    end if;
end $roles$;
"""

_OWN = """
alter schema {schema} owner to {owner};
do $roles$
declare
    thing text;
begin
    for thing in
        select 'table ' || cast(oid as regclass) from pg_class
        where relnamespace = to_regnamespace({schema_literal}) and relkind in ('r', 'p', 'v')
        union all
        select 'routine ' || cast(oid as regprocedure) from pg_proc
        where pronamespace = to_regnamespace({schema_literal})
        union all
        select 'domain ' || cast(oid as regtype) from pg_type
        where typnamespace = to_regnamespace({schema_literal}) and typtype = 'd'
    loop
        execute 'alter ' || thing || ' owner to ' || {owner_literal};
    end loop;
end $roles$;
"""

_GRANT = """
revoke all on schema {schema} from public, {others};
revoke all on all tables in schema {schema} from public, {others};
revoke all on all sequences in schema {schema} from public, {others};
revoke all on all routines in schema {schema} from public, {others};
grant usage on schema {schema} to {others};

grant insert ({public_columns}), select (id) on {schema}.outbox to {app};

grant select on {schema}.{version_table}, {schema}.outbox, {schema}.call, {schema}.attempt, {schema}.pause,
    {schema}.pace, {schema}.blocked_keys to {worker};
grant select (id, action) on {schema}.action to {worker};
grant execute on function {schema}.mask_text(text) to {worker};
grant update (status, attempts, call_id, result_index, error_code, error_message, available_at, finished_at)
    on {schema}.outbox to {worker};
grant insert (account, worker, message_ids, parent_id, lease_until),
    update (lease_until, sent_at, settled_at, outcome, http_status, request_id, error_code, sub_code, error_message,
        request_bytes, duration_ms)
    on {schema}.call to {worker};
grant insert on {schema}.attempt to {worker};
grant insert, update, delete on {schema}.pause to {worker};
grant insert, update on {schema}.pace to {worker};
grant execute on function {schema}.archive_messages(timestamptz, integer, boolean, text, text, bigint),
    {schema}.archive_calls(timestamptz, integer, text, text, bigint) to {worker};

grant select on {views} to {auditor}, {operator};
grant execute on function {schema}.mask_text(text), {schema}.mask_value(jsonb), {schema}.mask_at(jsonb, text[]),
    {schema}.mask_content(json, text[]) to {auditor}, {operator};

grant execute on function {schema}.retry(bigint[], text), {schema}.discard(bigint[], text),
    {schema}.pause_scope(text, timestamptz, text), {schema}.resume_scope(text, text),
    {schema}.find(text, text, text, text, text, text, interval, interval, bigint), {schema}.why_not(text, bigint[]),
    {schema}.retry(bigint[], text, text, json, double precision), {schema}.discard(bigint[], text, text, json),
    {schema}.pause_scope(text, timestamptz, text, text, json), {schema}.resume_scope(text, text, text, json)
    to {operator};

grant select on {schema}.audit_backlog to {metrics};
commit;
"""


def roles_sql(names: RoleNames, *, schema: str = "relay") -> str:
    """The script that makes the roles and gives each of them its rights in this schema."""
    by_part: dict[str, str] = asdict(names)
    roles = {part: quoted(name) for part, name in by_part.items()}
    words = {
        **roles,
        "schema": quoted(schema),
        "schema_literal": _literal(quoted(schema)),
        "owner_literal": _literal(roles["owner"]),
        "others": ", ".join(role for part, role in roles.items() if part != "owner"),
        "public_columns": ", ".join(("topic", "content", *Columns.__annotations__)),
        "version_table": VERSION_TABLE,
        "views": ", ".join(f"{quoted(schema)}.{view}" for view in VIEWS),
    }
    created = [_CREATE.format(literal=_literal(name), role=quoted(name)) for name in by_part.values()]
    return "".join([_HEAD.format_map(words), *created, _OWN.format_map(words), _GRANT.format_map(words)])


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
