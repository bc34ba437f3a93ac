"""An export that is killed is none: nothing has a name yet that anybody would trust, and it can simply be repeated."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, text

from tests.fixtures.processes import StartRelay
from tests.fixtures.rows import Rows
from tests.fixtures.waiting import eventually


def test_killed_in_the_middle(engine: Engine, start_relay: StartRelay, database_url: str, tmp_path: Path) -> None:
    Rows(engine).add(500)
    environment = {"RELAY_DATABASE_URL": database_url}
    with engine.begin() as blocking:
        blocking.execute(text("lock table relay.pause"))  # its view comes after that of the messages
        doomed = start_relay("export", str(tmp_path), env=environment)
        waits = text("select count(*) from pg_locks where not granted and relation = 'relay.pause'::regclass")
        eventually(lambda: blocking.execute(waits).scalar_one(), deadline_seconds=30)  # a process has to start
        assert (tmp_path / "audit_message.jsonl.partial").read_bytes().count(b"\n") == 500
        doomed.kill()
    assert [path for path in tmp_path.iterdir() if path.suffix != ".partial"] == []
    unfinished = start_relay("export", "--verify", str(tmp_path))
    assert unfinished.wait() == 1, unfinished.report()

    again = start_relay("export", str(tmp_path), env=environment)

    assert again.wait() == 0, again.report()
    assert [path for path in tmp_path.iterdir() if path.suffix == ".partial"] == []
    verified = start_relay("export", "--verify", str(tmp_path))
    assert (verified.wait(), verified.stdout) == (0, again.stdout), verified.report()
