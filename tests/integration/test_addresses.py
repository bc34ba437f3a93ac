"""Every documented way to name a database leads there: verbs, the wake-up and the accounts' query alike."""

from __future__ import annotations

import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import make_url

import relay
from relay.addresses import conninfo
from relay.assembly.accounts import open_accounts
from relay.cli.verbs import relay as command
from relay.embedded import EmbeddedPostgres
from relay.settings import load
from relay.wakeups import Notified

# U, W: user and password. P: the port of the server; D: one on which nobody listens. S: the directory of its socket,
# Q: the same, quoted.
FORMS = {
    "one host": "postgresql://U:W@127.0.0.1:P/postgres",
    "several hosts": "postgresql://U:W@127.0.0.1:D,127.0.0.1:P/postgres?target_session_attrs=read-write",
    "several hosts in the query": "postgresql://U:W@/postgres?host=127.0.0.1:D&host=127.0.0.1:P",
    "hosts beside ports": "postgresql://U:W@/postgres?host=127.0.0.1,localhost&port=D,P&connect_timeout=3",
    "keywords": "host=127.0.0.1,127.0.0.1 port=D,P dbname=postgres user=U password='W'",
    "a socket": "postgresql://U:W@/postgres?host=S&port=P",
    "a socket before the path": "postgresql://U:W@Q:P/postgres",
    "a service": "postgresql:///?service=shop",
    "a password file": "postgresql://U@127.0.0.1:P/postgres?passfile=F",
    "a password file of the environment": "postgresql://U@127.0.0.1:P/postgres",
}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """Over TCP it asks for a password."""
    made = EmbeddedPostgres(Path(tempfile.gettempdir()) / f"relay-test-{uuid4().hex[:12]}", port=0, fast=True)
    try:
        made.start()
        relay.migrate(made.url())
        yield made
    finally:
        made.remove()


@pytest.fixture
def dead_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        yield taken.getsockname()[1]


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_works_for_verbs_the_wakeup_and_the_accounts(
    server: EmbeddedPostgres, dead_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    real = make_url(server.url())
    user, password, port = str(real.username), str(real.password), str(real.port)
    passfile, services = tmp_path / "pgpass", tmp_path / "services"
    passfile.write_text(f"*:*:*:{user}:{password}\n")
    passfile.chmod(0o600)
    services.write_text(f"[shop]\nhost=127.0.0.1\nport={port}\nuser={user}\npassword={password}\ndbname=postgres\n")
    if "environment" in form:
        monkeypatch.setenv("PGPASSFILE", str(passfile))
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    sockets = str(server.home / "socket")
    letters = {
        "U": user,
        "W": password,
        "P": port,
        "D": str(dead_port),
        "S": sockets,
        "F": passfile,
    }
    letters["Q"] = quote(sockets, safe="")
    url = _put(FORMS[form], letters)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELAY_DATABASE_URL", url)
    monkeypatch.setenv("RELAY_ACCOUNTS_QUERY", "select 'k' app_key, 's' app_secret where :account = 'default'")

    result = CliRunner().invoke(command, ["status", "--json"])
    assert result.exit_code == 0, result.output
    settings = load()
    with open_accounts(settings) as accounts:
        assert accounts.identity("default") is not None
    wakeup = Notified(conninfo(str(settings.database_url)), despite_prepared=True)
    await wakeup.open()
    trouble = wakeup.trouble
    await wakeup.close()
    assert trouble is None


def _put(url: str, letters: dict[str, object]) -> str:
    """The letters alone, not as parts of words, and not those of the values put in."""
    return re.sub(r"(?<![A-Za-z])[A-Z](?![A-Za-z])", lambda found: str(letters[found[0]]), url)
