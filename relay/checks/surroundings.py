"""What others can do to our sessions: settings of the role and the database, schemas in which any login may create.

Our sessions decide all they depend on by themselves (``sessions.py``). Named here is what is left: settings that are
not theirs to decide, and sessions that are not ours, those of applications and of the accounts query.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from relay.checks import Finding, fail, ok, warn
from relay.sessions import SETTINGS
from relay.settings import Settings
from relay.sql import quoted

# Of the login or of everybody, here or everywhere. Of what others have, only what would undo what triggers guard.
_SET = """
select coalesce(rolname, 'all roles') as role, split_part(line, '=', 1) as name,
    substr(line, position('=' in line) + 1) as value, setrole = 0 or rolname = session_user as ours
from pg_db_role_setting cross join unnest(setconfig) as line
left join pg_roles on pg_roles.oid = setrole
where setdatabase in (0, (select oid from pg_database where datname = current_database()))
order by setdatabase, role, name
"""
_CREATORS = """
select nspname, grantee = 0 as everybody, pg_get_userbyid(grantee) as who
from pg_namespace cross join aclexplode(coalesce(nspacl, acldefault('n', nspowner))) as granted
where nspname in ('public', :schema) and privilege_type = 'CREATE' and grantee <> nspowner
order by nspname, everybody desc, who
"""


def role_settings(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """What roles and databases set for sessions: what we overrule, what may stay, what does harm."""
    found = connection.execute(text(_SET)).all()
    overruled = {setting.name for setting in SETTINGS}
    clean, harmless, lost = True, list[str](), list[str]()
    for role, name, value, ours in found:
        key = name.lower()
        finding = _named(role, key, value) if ours or key == "session_replication_role" else None
        if finding is not None:
            clean = False
            yield finding
        elif ours:
            (lost if key in overruled else harmless).append(f"{name} = {value}")
    if clean:
        parts = [("overruled in our sessions: ", lost), ("left as they are: ", harmless)]
        yield ok("; ".join(said + ", ".join(names) for said, names in parts if names) or "none")


def _named(role: str, name: str, value: str) -> Finding | None:
    """What a setting does that we cannot or may not overrule."""
    said = f"{name} = {value} is set for {role}"
    match name, value.lower():
        case "session_replication_role", "replica" | "local":
            return fail(
                f"{said}: no trigger fires in its sessions, so keys have no order and nothing guards the tables",
                f"alter role {role} reset session_replication_role",
            )
        case "synchronous_commit", "off" | "false" | "no" | "0":
            return warn(
                f"{said}: after a crash of the server a call that was made may be forgotten, and made again",
                "Set it to local or on for the role of the relay.",
            )
        case "temp_file_limit" | "max_stack_depth" | "local_preload_libraries" | "session_preload_libraries", _:
            return warn(f"{said}, which the relay cannot overrule", "Reset it if statements of the relay fail.")
    return None


def public(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """A login that may create in a schema of another one's search path can have functions called in that one's name."""
    clean = True
    for schema, everybody, who in connection.execute(text(_CREATORS), {"schema": settings.schema_name}):
        ours = schema == settings.schema_name
        if not (ours or everybody):
            continue
        clean = False
        name = "public" if everybody else quoted(who)
        whose = "those of the relay" if ours else "those of applications and of RELAY_ACCOUNTS_QUERY"
        yield warn(
            f"{'everybody' if everybody else who} may create functions in the schema {schema}, which sessions call "
            f"in place of PostgreSQL's own: {whose}",
            f"revoke create on schema {quoted(schema)} from {name}",
        )
    if clean:
        yield ok(f"not everybody may create in the schema public, and nobody else in {settings.schema_name}")
