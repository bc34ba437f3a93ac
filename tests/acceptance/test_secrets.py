"""Promise 9, with marks that cannot be overlooked and a platform that repeats everything it was told."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

import relay
from relay.embedded import EmbeddedPostgres
from tests.acceptance.outbox import TOPIC, Outbox
from tests.acceptance.patience import eventually
from tests.fixtures.hostility import takes_back
from tests.fixtures.processes import RelayProcess, StartRelay
from tests.fixtures.strict_platform import (
    Behaviour,
    Call,
    Reply,
    StrictPlatform,
    cut_after_storing,
    error,
    hang,
    honest,
    lie,
    raw,
)


class Marks:
    """One for each thing that must not be seen; different at every run, so what is found is ours."""

    def __init__(self) -> None:
        run = uuid4().hex
        self.secret, self.session, self.password = f"secretmark{run}", f"61sessionmark{run}", f"passwordmark{run}"
        self.content, self.headers = f"contentmark{run}", f"headersmark{run}"

    def found_in(self, text: str) -> list[str]:
        return [name for name, mark in vars(self).items() if mark in text]


@pytest.fixture
def marks(platform: StrictPlatform) -> Marks:
    made = Marks()
    platform.secret, platform.session = made.secret, made.session
    return made


@pytest.fixture
def own_outbox(own_postgres: EmbeddedPostgres) -> Outbox:
    """On a server of its own, whose log can be read."""
    relay.migrate(own_postgres.url())
    return Outbox(own_postgres.url())


def echoes(marks: Marks) -> Iterator[Behaviour]:
    """Failures of all kinds, each telling all that it knows."""
    content = json.dumps({marks.content: marks.content})
    all_of_it = f"session {marks.session} secret {marks.secret} content {content}"
    for code, sub_code in [
        (15, "isp.remote-service-error"),
        (41, "isv.invalid-parameter"),
        (7, "limited-by-x"),
        (50, ""),
    ]:
        yield error(code, sub_code, all_of_it)
    yield lie(
        lambda r: r.update(results=[*r["results"][:1], *_failed(r["results"][1:], all_of_it)], is_all_success=False)
    )
    yield lie(lambda r: r.update(results=[content] * len(r["results"])))
    yield raw(f"<html>{all_of_it}</html>", 502)
    yield raw(f"<html>{all_of_it}</html>")
    yield raw(json.dumps({"error_response": {"code": all_of_it, "msg": all_of_it, "request_id": all_of_it}}))
    yield cut_after_storing
    yield hang


def _failed(results: list[object], text: str) -> list[object]:
    return [{"is_success": False, "error_code": "isp.odd", "error_message": text} for _ in results]


@takes_back("log_parameter_max_length_on_error")  # by which an application has contents in the server's log
def test_promise_9_secrets_and_contents_appear_nowhere(
    own_outbox: Outbox,
    own_postgres: EmbeddedPostgres,
    platform: StrictPlatform,
    marks: Marks,
    env: dict[str, str],
    start_relay: StartRelay,
    execute_relay: StartRelay,
    free_port: int,
) -> None:
    env |= {
        "RELAY_DATABASE_URL": own_outbox.url,
        "RELAY_TMC_APP_SECRET": marks.secret,
        "RELAY_TMC_SESSION": marks.session,
        "RELAY_TMC_TIMEOUT_SECONDS": "0.5",
        "RELAY_LOG_LEVEL": "debug",
        "RELAY_METRICS_PORT": str(free_port),
        "RELAY_MAX_ATTEMPTS": "100",
    }
    insert = "insert into relay.outbox (topic, content, headers, json_ex_content) values (%s, %s, %s, %s)"
    for number in range(40):
        content, extra = json.dumps({marks.content: number}), json.dumps({marks.headers: 1})
        own_outbox.execute(insert, TOPIC, content, extra, json.dumps({marks.content: 1}))
    platform.script.extend(echoes(marks))

    worker = execute_relay("run", env=env)  # for its own command line, too
    worker.wait_for_line('"worker.started"')
    eventually(lambda: not platform.script and own_outbox.finished())
    told = [httpx.get(f"http://127.0.0.1:{free_port}{path}").text for path in ("/metrics", "/livez", "/readyz")]
    told += _command_lines()
    worker.terminate()
    assert worker.wait() == 0, worker.report()
    asked = [["status"], ["list", "--json"], ["show", "1"], ["show", "1", "--json"]]
    readers = [start_relay(*question, env=env) for question in asked]
    assert [reader.wait() for reader in readers] == [0] * len(asked)
    told += [process.report() for process in (worker, *readers)]
    told += [str(own_outbox.select(query)) for query in _KEPT]
    told += [own_postgres.log.read_text()]

    outcomes = {outcome for (outcome,) in own_outbox.select("select distinct outcome from relay.call")}
    assert outcomes >= {"ok", "partial", "rejected", "unknown"}  # the failures did come about
    assert [line for text in told for line in text.splitlines() if marks.found_in(line)] == []


_KEPT = (
    "select * from relay.call",
    "select * from relay.attempt",
    "select * from relay.pause",
    "select * from relay.action",
    "select id, topic, account, status, error_code, error_message, call_id from relay.outbox",
    "select query, application_name from pg_stat_activity",
)


def _command_lines() -> Iterator[str]:
    """Of all processes, PostgreSQL's among them; whatever ends meanwhile is left out."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().decode("utf-8", "replace")


def _refused_credentials(_platform: StrictPlatform, call: Call) -> Reply:
    told = {"code": 27, "msg": f"Invalid session {call.params['session']}", "sub_code": "invalid-sessionkey"}
    return Reply(json.dumps({"error_response": told}).encode())


def test_promise_9_nor_in_what_a_failing_command_says(
    outbox: Outbox, platform: StrictPlatform, marks: Marks, env: dict[str, str], start_relay: StartRelay
) -> None:
    outbox.insert([json.dumps({marks.content: 1})])
    env |= {"RELAY_TMC_APP_SECRET": marks.secret, "RELAY_TMC_SESSION": marks.session}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"postgresql://me:{marks.password}@127.0.0.1:{taken.getsockname()[1]}/shop"
        lost = [
            start_relay("--debug", *verb, env={**env, "RELAY_DATABASE_URL": nowhere})
            for verb in (["run"], ["migrate"], ["status"])
        ]
        assert [process.wait() for process in lost] == [69, 69, 69]
    wrong_name = start_relay("run", env={**env, "RELAY_TMC_SESSIONS": marks.session})
    malformed = start_relay("run", env={**env, "RELAY_DATABASE_URL": f"mysql://me:{marks.password}@host/shop"})
    not_an_object = start_relay("add", TOPIC, json.dumps([marks.content]), env=env)
    broken = start_relay("--debug", "add", TOPIC, f'{{"{marks.content}', env=env)
    codes = [process.wait() for process in (wrong_name, malformed, not_an_object, broken)]
    assert codes == [78, 78, 1, 1]
    platform.otherwise = _refused_credentials
    paused = start_relay("--debug", "run", "--drain", env=env)
    assert paused.wait() == 78, paused.report()
    platform.otherwise = honest

    for process in (*lost, wrong_name, malformed, not_an_object, broken, paused):
        assert marks.found_in(_written(process)) == []
    assert marks.found_in(str(outbox.select("select * from relay.pause"))) == []


def _written(process: RelayProcess) -> str:
    """Without the command itself, whose arguments the test chose."""
    return "\n".join([*process.stdout, *process.stderr])
