"""Whatever is set on the role: every verb and a worker do the same, and say the same, as without it.

One story is told again and again, each time on a new database on which another setting of the role is in force, for
the application's own inserts too. What it says has to be, letter for letter but for the times, what it says without.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

import relay as package
from relay.cli.verbs import relay
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused, Result
from tests.fixtures import hostility
from tests.fixtures.database import Server
from tests.fixtures.hostile import PLANS, TOGETHER, hostile, plant
from tests.fixtures.scripted import Bench, Scripted

# What each of these breaks is easily taken for the work of another one, so each is tried alone.
LOUD = {
    *("search_path", "datestyle", "timezone", "standard_conforming_strings", "array_nulls", "quote_all_identifiers"),
    *("client_encoding", "statement_timeout", "lock_timeout", "default_transaction_isolation"),
}
LIMITS = {name for name in hostile(999999) if name.endswith("_timeout")} - LOUD
FORMS = {
    *("intervalstyle", "extra_float_digits", "bytea_output", "xmloption", "xmlbinary", "lc_numeric"),
    *("default_text_search_config", "backslash_quote", "escape_string_warning"),
}
OTHERS = hostile(999999).keys() - LOUD - LIMITS - FORMS - PLANS
TOLD = {
    **{name: {name} for name in sorted(LOUD)},
    "limits": LIMITS,
    "forms": FORMS,
    "others": OTHERS,
    "plans": PLANS,
    "all": TOGETHER,
}
if hostility.WANTED:  # whoever asks for it has the time to try them all alone, too
    TOLD |= {name: {name} for name in sorted(LIMITS | FORMS | OTHERS)}
# Times, durations, ids of calls, names of this run, and what depends on the machine or is what is asked about.
VARYING = re.compile(
    r"""\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?|\d:\d\d:\d\d|\b\d+(\.\d+)?[ ]s\b
    |"duration_ms":[ ]\d+|"(parent_|call_)?id":[ ]("\d+"|null)|relay_test_\w+|"worker":[ ]"[^"]+"|\b[0-9a-f]{64}\b
    |(\w+[ ]+(role[ ]settings|clock)[ ].*\n)+""",
    re.VERBOSE,
)
INSERTS = (
    """insert into relay.outbox (topic, content, account, ordering_key)
       select 't', '{"tel": "13912345678"}', 'a', k from generate_series(1, 3) as n, (values ('k0'), ('k1')) as key (k)
       order by n, k""",
    "insert into relay.outbox (topic, content) values ('refused', '{}'), ('poison', '{}'), ('t', '{\"n\": null}')",
    "insert into relay.outbox (topic, content, dedupe_key) values ('t', '{}', 'd') on conflict do nothing",
    "insert into relay.outbox (topic, content, dedupe_key) values ('t', '{}', 'd') on conflict do nothing",
)
WHY = ("--reason", "because", "--actor", "ann")


@dataclass(frozen=True)
class Home:
    """A login that owns a migrated database, which is cloned for each telling."""

    server: Server
    role: str
    template: str
    version: int

    @contextmanager
    def with_settings(self, settings: dict[str, str]) -> Iterator[tuple[str, str]]:
        """The URLs of a new database, on which these are the role's: for the role, and for the server's superuser."""
        with self.server.fresh_database(self.template) as name:
            with self.server.admin() as admin:
                admin.execute(text(f"alter database {name} reset all"))
                for setting, value in settings.items():
                    written = ", ".join(f"'{part}'" for part in value.split(", "))
                    admin.execute(text(f"alter role {self.role} in database {name} set {setting} = {written}"))
            yield self.url(name), self.server.admin_url(name)

    def url(self, database: str) -> str:
        url = make_url(self.server.admin_url(database))
        return url.set(username=self.role, password="p").render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def home(postgres: Server) -> Iterator[Home]:
    role = f"relay_test_{uuid4().hex[:12]}"
    with postgres.admin() as admin:
        admin.execute(text(f"create role {role} login password 'p'"))
        version = int(admin.scalar(text("show server_version_num")))
    with postgres.fresh_database() as template:
        with postgres.admin() as admin:
            admin.execute(text(f'alter database "{template}" owner to {role}'))
        engine = create_engine(postgres.admin_url(template), poolclass=NullPool)
        with engine.begin() as connection:
            if not hostility.WANTED:
                plant(connection)
            connection.execute(text(f"grant create on schema public to {role}"))
        made = Home(postgres, role, template, version)
        package.migrate(made.url(template))
        yield made
    with postgres.admin() as admin:
        admin.execute(text(f"drop role {role}"))


@pytest.fixture(scope="module")
def expected(home: Home, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the story says where nothing is set."""
    with home.with_settings({}) as urls, pytest.MonkeyPatch.context() as patch:
        return told(*urls, tmp_path_factory.mktemp("plain"), patch)


@pytest.mark.parametrize("which", TOLD)
def test_every_verb_and_a_worker_do_the_same_whatever_is_set(
    which: str, home: Home, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {name: value for name, value in hostile(home.version).items() if name in TOLD[which]}
    if not settings:
        pytest.skip(f"this server has no {which}")
    with home.with_settings(settings) as urls:
        same(told(*urls, tmp_path, monkeypatch), expected)


def same(said: list[str], expected: list[str]) -> None:
    for now, before in zip(said, expected, strict=True):
        assert now.splitlines() == before.splitlines()


def told(url: str, admin_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The story: what the verbs say and what the tables hold at the end."""
    monkeypatch.setenv("RELAY_DATABASE_URL", url)
    monkeypatch.setenv("RELAY_METRICS_PORT", "0")
    monkeypatch.setenv("RELAY_WAKEUP", "poll")
    monkeypatch.chdir(folder)
    insert(url)
    said = [run("add", "t", '{"by": "hand"}', "--ordering-key", "k1"), run("status"), run("list", "--json")]
    said += [run("pause", "--account", "a", "--for", "1h", *WHY), run("resume", "--account", "a", *WHY)]
    work(url)
    keyed, refused, poison = (str(id_) for id_ in ids(admin_url))
    said += [run("run", "--drain", "--producer", "stdout"), run("list", "--status", "failed", "--json")]
    said += [run("retry", refused, *WHY), run("discard", refused, *WHY), run("redact", poison, *WHY)]
    said += [run("show", poison, "--json"), run("show", keyed, "--reveal", "--json", *WHY)]
    (folder / "out").mkdir()
    said += [run("check"), run("export", "out"), masked(folder / "out" / "audit_message.jsonl")]
    let_time_pass(admin_url)
    said += [
        run("archive", "--older-than", "1d", "--batch", "8"),
        run("archive", "--list"),
        run("show", keyed, "--json"),
    ]
    said += [run("prune", "--older-than", "1d", *WHY), run("migrate"), *ledger(admin_url)]
    return said


def insert(url: str) -> None:
    """As an application does, whose session nobody makes independent."""
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        limits = [name for name in hostile(connection.info.server_version) if name.endswith("_timeout")]
        connection.execute("; ".join(f"set {name} = 0" for name in limits).encode())
        for statement in INSERTS:
            connection.execute(statement)


def run(*arguments: str) -> str:
    """What a verb says on both streams, and how it ends; without times, names of this run, and what is set."""
    result = CliRunner().invoke(relay, arguments)
    said = VARYING.sub("…", result.output)
    return f"$ relay {' '.join(arguments)}\n{said}({result.exit_code})"


def work(url: str) -> None:
    """A worker whose platform refuses one message, and a whole batch for the sake of another."""
    engine = create_engine(url, isolation_level="READ COMMITTED")

    def answer(batch: Batch) -> Answer:
        topics = [message.topic for message in batch.messages]
        if "poison" in topics:
            return Refused(Fault.CONTENT, "41", message="no", request_id="r", http_status=200)
        refused = Result(Fault.MESSAGE, "isv.bad", "no")
        return Answered(tuple(refused if topic == "refused" else ACCEPTED for topic in topics), "r", 200)

    asyncio.run(Bench(engine, Scripted(answer), concurrency=1).drain())
    engine.dispose()


def let_time_pass(admin_url: str) -> None:
    """Two days, in which everything that is finished finished."""
    engine = create_engine(admin_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("set session_replication_role = replica; set search_path = pg_catalog"))
        connection.execute(text("update relay.outbox set finished_at = finished_at - interval '2 days'"))
        connection.execute(text("update relay.call set settled_at = settled_at - interval '2 days'"))


def ids(admin_url: str) -> list[int]:
    """Of a message with a key, of the one that is refused, of the one that spoils its batch."""
    engine = create_engine(admin_url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("set search_path = pg_catalog"))
        asked = "select min(id) from relay.outbox group by topic order by topic = 't' desc, topic desc"
        return list(connection.scalars(text(asked)))


def ledger(admin_url: str) -> list[str]:
    """Who did what, in the tables' own words; read by the server's administrator."""
    engine = create_engine(admin_url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("set search_path = pg_catalog; set datestyle = 'ISO'"))
        asked = (
            "select case when action <> 'start' then actor end, action, reason, message_ids, count "
            "from relay.action order by id"
        )
        rows = connection.execute(text(asked))
        return [str(tuple(row)) for row in rows]


def masked(file: Path) -> str:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return json.dumps([(row["id"], row["status"], row["content"], row["error_code"]) for row in rows])
