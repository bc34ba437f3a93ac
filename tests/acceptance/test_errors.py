"""What goes wrong for everybody one day: one sentence, a hint, the exit code, and never a traceback."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from tests.acceptance.outbox import Outbox, assert_reconciled, numbered
from tests.acceptance.patience import eventually
from tests.fixtures.processes import RelayProcess, StartRelay
from tests.fixtures.strict_platform import StrictPlatform, error


def said(process: RelayProcess) -> list[str]:
    """What was written for people, without the log lines."""
    return [line for line in process.stderr if not line.startswith("{")]


def assert_explained(process: RelayProcess, code: int, sentence: str, hint: str) -> None:
    assert process.wait() == code, process.report()
    error, *hints = said(process)
    assert re.fullmatch(f"error: {sentence}", error), error
    assert len(hints) == 1
    assert re.fullmatch(f"hint: {hint}", hints[0]), hints
    assert process.stdout == []


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of the loopback where nobody listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.mark.parametrize("verb", [("run", "--drain"), ("migrate",)])
def test_no_database_there(env: dict[str, str], start_relay: StartRelay, dead_port: int, verb: tuple[str, ...]) -> None:
    url = f"postgresql://me:hidden-password@127.0.0.1:{dead_port}/shop"

    process = start_relay(*verb, env={**env, "RELAY_DATABASE_URL": url})

    where = f"127.0.0.1:{dead_port}/shop"
    assert_explained(
        process, 69, f"Cannot reach PostgreSQL at {where}: Connection refused", "Check RELAY_DATABASE_URL.*"
    )
    assert "hidden-password" not in process.report()


@pytest.mark.parametrize("verb", [("run",), ("add", "t", "{}")])
def test_no_tables_there(empty_url: str, env: dict[str, str], start_relay: StartRelay, verb: tuple[str, ...]) -> None:
    process = start_relay(*verb, env={**env, "RELAY_DATABASE_URL": empty_url})

    assert_explained(process, 78, ".*relay tables.*", ".*relay migrate")


def test_after_the_hint_is_followed_it_works(
    empty_url: str, env: dict[str, str], start_relay: StartRelay, platform: StrictPlatform
) -> None:
    env |= {"RELAY_DATABASE_URL": empty_url}
    assert start_relay("migrate", env=env).wait() == 0
    added = start_relay("add", "t", '{"tid":1}', env=env)
    assert added.wait() == 0
    assert added.stdout == ["1"]
    assert start_relay("run", "--drain", env=env).wait() == 0
    assert platform.contents == ['{"tid":1}']
    assert platform.violations == []


def test_a_wrong_secret_and_its_correction(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    outbox.insert(numbered(70))

    process = start_relay("run", "--drain", env={**env, "RELAY_TMC_APP_SECRET": "not-the-secret-at-all"})

    app = f"app …{platform.app_key[-4:]}"
    sentence = rf"70 messages are left\. {app} is paused: credentials refused: Invalid signature \(25\)\."
    assert_explained(process, 78, sentence, ".*secret.*")
    assert set(platform.violations) == {"25 Invalid signature"}
    assert len(platform.violations) < 8  # what was in flight or being claimed; then nobody asks again
    platform.violations.clear()
    assert {(row.status, row.attempts) for row in outbox.rows()} == {("pending", 0)}

    corrected = start_relay("run", "--drain", env=env)

    assert corrected.wait() == 0, corrected.report()
    assert said(corrected) == []
    assert outbox.statuses() == {"done": 70}
    assert outbox.select("select * from relay.pause") == []
    assert_reconciled(outbox, platform)


def test_a_missing_permission_is_granted_and_a_person_resumes(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    outbox.insert(numbered(1))
    platform.script.append(error(11, "isv.permission-api-package-limit", "not granted"))

    refused = start_relay("run", "--drain", env=env)

    app = f"app …{platform.app_key[-4:]}"
    sentence = rf"1 message is left\. {app} is paused: .* \(isv.permission-api-package-limit\)\."
    way_out = r"Grant the permission at the platform, then: relay resume --app KEY --reason \.\.\."
    assert_explained(refused, 78, sentence, way_out)

    assert start_relay("resume", "--app", platform.app_key, "--reason", "granted", env=env).wait() == 0
    assert start_relay("run", "--drain", env=env).wait() == 0
    assert outbox.statuses() == {"done": 1}


def test_the_pause_of_a_person_has_no_code(outbox: Outbox, env: dict[str, str], start_relay: StartRelay) -> None:
    outbox.insert(numbered(1))
    assert start_relay("pause", "--account", "default", "--reason", "lunch", env=env).wait() == 0

    process = start_relay("run", "--drain", env=env)

    assert_explained(process, 1, r"1 message is left\. account:default is paused: lunch\.", "See: relay status")


def test_a_drain_names_three_of_many_accounts_without_credentials(
    outbox: Outbox, env: dict[str, str], start_relay: StartRelay
) -> None:
    insert = "insert into relay.outbox (topic, content, account) select 't', '{}', 'shop-' || n"
    outbox.execute(f"{insert} from generate_series(101, 400) n")

    process = start_relay("run", "--drain", env=env)

    unknown = r"account:shop-10\d is paused: [^;]* for the account 'shop-10\d' \(relay\.no_credentials\)"
    sentence = rf"300 messages are left\. {unknown}; {unknown}; {unknown}; 297 more pauses\."
    assert_explained(
        process, 78, sentence, "Configure the credentials of these accounts: that ends the pause by itself."
    )
    assert outbox.scalar("select count(*) from relay.call") == 0


def test_an_expired_session_and_its_renewal(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    outbox.insert(numbered(5))
    platform.session, old = "61" + "5" * 48, platform.session
    worker = start_relay("run", env=env)
    worker.wait_for_line('"paused"')
    assert said(worker) == []
    worker.terminate()
    assert worker.wait() == 0
    assert old not in worker.report()
    assert set(platform.violations) == {"27 Invalid session"}
    platform.violations.clear()

    renewed = start_relay("run", "--drain", env={**env, "RELAY_TMC_SESSION": platform.session})

    assert renewed.wait() == 0, renewed.report()
    assert outbox.statuses() == {"done": 5}
    assert_reconciled(outbox, platform)


def test_a_mistyped_name(env: dict[str, str], start_relay: StartRelay) -> None:
    process = start_relay("run", env={**env, "RELAY_TMC_APPSECRET": "hidden-secret"})

    assert process.wait() == 78
    assert said(process) == [
        "error: RELAY_TMC_APPSECRET: unknown setting; did you mean RELAY_TMC_APP_SECRET?",
        "hint: relay config shows every option, and where each is set.",
    ]


def test_all_mistakes_are_named_at_once(env: dict[str, str], start_relay: StartRelay) -> None:
    process = start_relay("run", env={**env, "RELAY_BATCH_SIZE": "51", "RELAY_TMC_URL": "http://example.com/"})

    assert process.wait() == 78
    assert [line.split(": ")[1] for line in said(process)[:-1]] == ["RELAY_TMC_URL", "RELAY_BATCH_SIZE"]


@pytest.mark.parametrize("content", ["[1, 2]", '{"tid": '])
def test_a_content_that_is_no_object(
    outbox: Outbox, env: dict[str, str], start_relay: StartRelay, content: str
) -> None:
    process = start_relay("add", "t", content, env=env)

    assert_explained(process, 1, ".*(content|Content).*", ".+")
    assert outbox.statuses() == {}


def test_an_id_that_is_not_there(env: dict[str, str], start_relay: StartRelay) -> None:
    process = start_relay("show", "4711", env=env)

    assert process.wait() == 1
    assert "4711" in said(process)[0]
    assert process.stdout == []


def test_no_platform_there_is_waited_for(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay, dead_port: int
) -> None:
    outbox.insert(numbered(60))
    env |= {"RELAY_MAX_ATTEMPTS": "1000"}
    worker = start_relay("run", env={**env, "RELAY_TMC_URL": f"http://127.0.0.1:{dead_port}/router/rest"})

    worker.wait_for_line('"error_code": "relay.unreachable"')
    eventually(lambda: max(outbox.attempts("retry").values(), default=0) > 1)
    assert worker.returncode is None
    assert outbox.attempts("unknown") == {}  # nothing can have arrived
    worker.terminate()
    assert worker.wait() == 0
    assert said(worker) == []

    assert start_relay("run", "--drain", env=env).wait() == 0
    assert outbox.statuses() == {"done": 60}
    assert_reconciled(outbox, platform)
