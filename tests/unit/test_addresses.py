"""Ways in which people write down where a database is: one meaning each, or a refusal that names the form to use."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from relay.addresses import conninfo, normalized_url, told
from relay.errors import ConfigurationError

SECRET = "s3cret-do-not-show"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p%40@h:1/d", "postgresql+psycopg://u:p%40@h:1/d"),
        ("postgresql://u@v:p@h/d%40?options=x@y", "postgresql+psycopg://u%40v:p@h/d%40?options=x%40y"),
        ("postgresql://u:p%40/?x@h/d", "postgresql+psycopg://u:p%40%2F%3Fx@h/d"),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+asyncpg://h/d?ssl=require", "postgresql+psycopg://h/d?sslmode=require"),
        ("postgresql+psycopg_async://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg2:///d?host=/run/sockets", "postgresql+psycopg:///d?host=%2Frun%2Fsockets"),
        ("postgresql://", "postgresql+psycopg://"),
    ],
)
def test_any_postgresql_url_becomes_one_for_psycopg(given: str, expected: str) -> None:
    assert normalized_url(given) == expected
    assert normalized_url(expected) == expected


@pytest.mark.parametrize(
    ("given", "host", "port", "sentence"),
    [
        ("postgresql://h/d", "h", None, "at h/d"),
        ("postgresql://[::1]:5433/d", "::1", "5433", "at [::1]:5433/d"),
        ("postgresql://a,b/d", "a,b", None, "at a,b/d"),
        ("postgresql://me:a,b%2C@a:1,b:2/d?sslmode=require", "a,b", "1,2", "at a:1,b:2/d"),
        ("postgresql+asyncpg://[::1]:1,[::2]:2/d", "::1,::2", "1,2", "at [::1]:1,[::2]:2/d"),
        ("postgresql:///d?host=a:1&host=b:2", "a,b", "1,2", "at a:1,b:2/d"),
        ("postgresql:///d?host=[::1]:1&host=b:2", "::1,b", "1,2", "at [::1]:1,b:2/d"),
        ("postgresql:///d?host=a&host=b", "a,b", None, "at a,b/d"),
        ("postgresql:///d?host=a,b&port=1,2", "a,b", "1,2", "at a:1,b:2/d"),
        ("postgresql:///d?host=a,b&port=1", "a,b", "1,1", "at a:1,b:1/d"),
        ("host=a,b port=1,2 dbname=d user='m e'", "a,b", "1,2", "at a:1,b:2/d"),
        ("postgresql://%2Frun%2Fpg/d", "/run/pg", None, "on the socket /run/pg/.s.PGSQL.5432, database d"),
        ("postgresql:///d?host=/run/pg&port=1", "/run/pg", "1", "on the socket /run/pg/.s.PGSQL.1, database d"),
        ("postgresql:///?service=shop", None, None, "as the service shop tells"),
        ("postgresql:///d", None, None, "on this machine's socket, database d"),
    ],
)
def test_every_form_of_hosts_is_the_same_for_the_engine_and_for_the_driver(
    monkeypatch: pytest.MonkeyPatch, given: str, host: str | None, port: str | None, sentence: str
) -> None:
    for name in ("PGHOST", "PGPORT", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    url = normalized_url(given)
    assert normalized_url(url) == url
    parsed = make_url(url)
    _, for_the_engine = parsed.get_dialect()().create_connect_args(parsed)
    for arguments in (for_the_engine, conninfo_to_dict(conninfo(url))):
        assert arguments.get("host") == host
        assert (str(arguments.get("port", "")).strip(",") or None) == port
    assert told(parsed) == sentence


def test_a_host_that_only_the_environment_names_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert told(make_url(normalized_url("postgresql:///d"))) == "at db.example.com/d"


@pytest.mark.parametrize(
    "given",
    [
        f"postgresql://me:{SECRET}@a,b:2/d",
        f"postgresql://me:{SECRET}@a:1,b:x/d",
        f"postgresql://me:{SECRET}@h:x/d",
        f"postgresql://me:{SECRET}@/d?host=a,b&port=1,2,3",
        f"postgresql://me:{SECRET}@/d?host=a:1&host=b:2&port=3",
        f"postgresql://me:{SECRET}@/d?host=a&host=b&port=1&port=2",
        f"postgresql://me:{SECRET}@/d?host=h&port=x",
        f"host=h password={SECRET} nonsense",
        f"host=h password={SECRET} pgbouncer=true",
        f"jdbc:postgresql://h/d?password={SECRET}",
    ],
)
def test_what_cannot_be_carried_is_refused_with_the_form_that_works(given: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        normalized_url(given)
    told_all = f"{caught.value} {caught.value.hint}"
    assert SECRET not in told_all
    assert "postgresql://user@" in told_all
