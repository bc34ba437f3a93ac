"""The programs of docs/languages.md run as they are printed, where their language and its driver are installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text

from tests.docs.markdown import ROOT, blocks
from tests.fixtures.proxy import proxied, way_to

PAGE = ROOT / "docs" / "languages.md"
README = ROOT / "README.md"
JDBC = "RELAY_TEST_JDBC"  # where the driver's jar is, unless Debian has put it into its place
JAR = Path(os.environ.get(JDBC, "/usr/share/java/postgresql.jar"))
GOPATH = Path("/usr/share/gocode")  # where Debian puts packages of Go


@dataclass(frozen=True)
class Language:
    """``start`` runs the file, ``needs`` is a command that succeeds where the driver is installed."""

    file: str
    needs: tuple[str, ...]
    start: tuple[str, ...]


LANGUAGES = {
    "js": Language("ship.js", ("node", "-e", "require('pg')"), ("node",)),
    "java": Language("Ship.java", ("test", "-f", str(JAR)), ("java", "-XX:TieredStopAtLevel=1", "-cp", str(JAR))),
    "go": Language("ship.go", ("test", "-d", str(GOPATH / "src/github.com/jackc/pgx/v4")), ("go", "run")),
    "php": Language("ship.php", ("php", "-r", "exit(extension_loaded('pdo_pgsql') ? 0 : 1);"), ("php",)),
    "ruby": Language("ship.rb", ("ruby", "-e", "require 'pg'"), ("ruby",)),
}


@pytest.fixture
def environment(database_url: str) -> Iterator[dict[str, str]]:
    """The database by TCP, since a driver of Java knows no sockets."""
    url = make_url(database_url)
    with proxied(lambda: way_to(url)) as proxy:
        libpq = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(proxy.port),
            "PGUSER": url.username or "",
            "PGPASSWORD": url.password or "",
            "PGDATABASE": url.database or "",
            "PGSSLMODE": "disable",
        }
        where = f"jdbc:postgresql://127.0.0.1:{proxy.port}/{url.database}?user={url.username}&password={url.password}"
        yield {**os.environ, **libpq, "JDBC_URL": where, "GOPATH": str(GOPATH), "GO111MODULE": "off"}


def printed(language: str) -> str:
    (program,) = [block.text for block in blocks(PAGE) if block.language == language]
    return program


def test_every_program_of_the_page_is_run() -> None:
    assert [block.language for block in blocks(PAGE)] == list(LANGUAGES)


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_program_writes_order_and_message_or_neither(
    name: str, environment: dict[str, str], engine: Engine, tmp_path: Path
) -> None:
    language = LANGUAGES[name]
    if shutil.which(language.start[0]) is None:
        pytest.skip(f"{language.start[0]} is not installed")
    if subprocess.run(language.needs, env=environment, capture_output=True).returncode != 0:
        pytest.skip(f"the driver for {name} is not installed")
    program = tmp_path / language.file
    program.write_text(printed(name).replace("jackc/pgx/v5", "jackc/pgx/v4"), encoding="utf-8")  # Debian's
    with engine.begin() as connection:
        connection.execute(text("create table orders (tid bigint primary key, seller text not null)"))
        connection.execute(text("insert into orders values (4213000402, 'there already')"))
    for tid, good in ((4213000401, True), (4213000402, False)):
        command = [*language.start, str(program), str(tid)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=100)
        assert (ended.returncode == 0) is good, ended.stdout + ended.stderr
    with engine.connect() as connection:
        wanted = "select topic, content::text, ordering_key, dedupe_key from relay.outbox"
        ((topic, content, *keys),) = connection.execute(text(wanted)).all()
        assert connection.scalar(text("select seller from orders where tid = 4213000401")) == "向阳aa"
    assert (topic, *keys) == ("taobao_jds_TradeTrace", "4213000401", "packaged 4213000401")
    assert json.loads(content) == {"tid": 4213000401, "status": "X_PACKAGED"}


def test_the_insert_of_the_readme_takes_parameters_that_are_text(engine: Engine) -> None:
    """As JDBC types them, and ``prepare p(text, text)``."""
    (insert,) = [b.text for b in blocks(README) if b.language == "sql" and b.text.startswith("INSERT")]
    values = [part.split("'")[0] for part in insert.split("'")[1::2]]
    for number, value in enumerate(values, start=1):
        insert = insert.replace(f"'{value}'", f"${number}")
    assert len(values) == 4
    with engine.begin() as connection:
        connection.exec_driver_sql(f"prepare p(text, text, text, text) as {insert}")
        connection.exec_driver_sql("execute p('t', '{\"a\":1}', 'k', 'd')")
        assert connection.scalar(text("select content::text from relay.outbox")) == '{"a":1}'
