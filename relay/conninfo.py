"""Which parameter of a connection is wrong, where libpq says that it cannot even try. Waiting would not mend it.

libpq gives no code for that, only words, and they are not translated where no locale is set. The words below are of
libpq 14 to 18; what is not recognised counts as a server that cannot be reached, as before.
"""

from __future__ import annotations

import re

_REFUSED = (
    re.compile(r'invalid (?:connection option|URI query parameter):? "(\w+)"'),
    re.compile(r'invalid "?(\w+)"? value: '),
    re.compile(r'invalid (?:integer )?value (?:".*" )?for (?:connection option|parameter) "(\w+)"'),
    re.compile(r"bad value for (\w+): "),
    re.compile(r"invalid (port) number: "),
    re.compile(r'definition of (service) ".*" not found'),
    re.compile(r'(sslmode) value ".*" invalid when SSL support is not compiled in'),
    re.compile(r'weak (sslmode) "'),
    re.compile(r"(root certificate) file .* does not exist"),
    re.compile(r'unrecognized configuration parameter "([\w.]+)"'),
)
_OF_OTHERS = {
    "pgbouncer": "Prisma",
    "schema": "Prisma",
    "connection_limit": "Prisma",
    "pool_timeout": "Prisma",
    "prepareThreshold": "JDBC",
    "currentSchema": "JDBC",
    "useSSL": "JDBC",
    "prepared_statement_cache_size": "SQLAlchemy with asyncpg",
}
# Where libpq takes it from if the URL does not have it: its tables PQconninfoOptions and EnvironmentOptions.
_VARIABLES = {
    "TimeZone": "PGTZ",
    "DateStyle": "PGDATESTYLE",
    "geqo": "PGGEQO",
    "client_encoding": "PGCLIENTENCODING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "port": "PGPORT",
    "service": "PGSERVICE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "gssencmode": "PGGSSENCMODE",
    "channel_binding": "PGCHANNELBINDING",
    "require_auth": "PGREQUIREAUTH",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
}
_OF_THE_SESSION = ("TimeZone", "DateStyle", "geqo")  # no parameter of a URL but in its "options"


def refused_parameter(said: str) -> str | None:
    """The name of the parameter that libpq, the driver or the server's start-up packet refuses; None: not that."""
    for pattern in _REFUSED:
        if match := pattern.search(said):
            return match[1].replace("root certificate", "sslrootcert")
    return None


def advice(parameter: str, variable: str) -> str:
    """What to do about it. ``variable``: where the URL is given."""
    if parameter in _OF_OTHERS:
        return f"{parameter} is a parameter of {_OF_OTHERS[parameter]}, not of PostgreSQL: leave it out of {variable}."
    set_by = _VARIABLES.get(parameter, "PGOPTIONS")
    if parameter in _OF_THE_SESSION:
        return f"Correct {set_by} in the environment, or {parameter} in the options of {variable}."
    return f"Correct or leave out {parameter} in {variable}, or in {set_by} where that does not name it."
