"""A producer that is no part of the relay, found by its entry point: ``examples/spool_producer`` in real processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from examples.spool_producer.relay_spool import signature
from tests.acceptance.outbox import Outbox, numbered
from tests.fixtures.installed import ROOT, installed
from tests.fixtures.processes import StartRelay
from tests.fixtures.strict_platform import StrictPlatform

KEY = "k3y-of-the-spool"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def spooling(outbox: Outbox, spool: Path, tmp_path: Path) -> dict[str, str]:
    """Variables of a relay that has the package; nothing of the platform is set."""
    (tmp_path / "site").mkdir()
    path = [*installed("spool_producer", tmp_path / "site"), str(ROOT)]
    return {
        "PYTHONPATH": os.pathsep.join(path),
        "RELAY_DATABASE_URL": outbox.url,
        "RELAY_PRODUCER": "spool",
        "RELAY_PRODUCER_SPOOL_FOLDER": str(spool),
        "RELAY_METRICS_PORT": "0",
    }


def lines_of(spool: Path) -> list[dict[str, object]]:
    return [json.loads(line) for file in sorted(spool.glob("*.jsonl")) for line in file.read_text().splitlines()]


def test_it_delivers_with_options_of_its_own(
    outbox: Outbox, spool: Path, spooling: dict[str, str], tmp_path: Path, start_relay: StartRelay
) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "relay.toml").write_text("[producers.spool]\nsync = false\n")
    outbox.insert(numbered(120))
    worker = start_relay(
        "run", "--drain", env=spooling | {"RELAY_PRODUCER_SPOOL_KEY_FILE": str(tmp_path / "key")}, cwd=tmp_path
    )
    assert worker.wait() == 0, worker.report()
    assert outbox.statuses() == {"done": 120}
    lines = lines_of(spool)
    assert sorted(line["id"] for line in lines) == [
        row[0] for row in outbox.select("select id from relay.outbox order by id")
    ]
    told = lines[0]
    assert told["hmac"] == signature(KEY, [told["id"], told["topic"], told["account"], told["content"]])
    ((ledger,),) = outbox.select("select selection->'settings'->'producers' from relay.action where action = 'start'")
    assert ledger == {"spool": {"folder": str(spool), "key": "***", "sync": False, "by_topic": False, "batch_size": 50}}
    assert KEY not in worker.report()
    worker.wait_for_line('"worker.started".*"producer": "spool"')  # as it is registered, not as its class is called


def test_a_folder_that_is_full_or_gone_fails_no_message(
    outbox: Outbox, spool: Path, spooling: dict[str, str], start_relay: StartRelay
) -> None:
    spool.rmdir()
    outbox.insert(numbered(1))
    worker = start_relay("run", "--drain", env=spooling)
    assert worker.wait() == 78
    worker.wait_for_line("the folder .* cannot be written to")
    assert outbox.statuses() == {"pending": 1}


@pytest.mark.parametrize("verb", [("run", "--drain"), ("check",)], ids=["run", "check"])
def test_a_misspelt_option_is_refused_with_the_nearest(
    spooling: dict[str, str], start_relay: StartRelay, verb: tuple[str, ...]
) -> None:
    wrong = {"RELAY_PRODUCER_SPOOL_FOLDERS": "/x", "RELAY_PRODUCER_SPOOL_SYNC": "maybe"}
    refused = start_relay(*verb, env=spooling | wrong)
    assert refused.wait() == 78, refused.report()
    said = "\n".join(refused.stdout + refused.stderr)
    assert "RELAY_PRODUCER_SPOOL_FOLDERS: unknown option; did you mean RELAY_PRODUCER_SPOOL_FOLDER?" in said
    assert "RELAY_PRODUCER_SPOOL_SYNC: must be true or false, got maybe" in said


@pytest.mark.parametrize(("usual", "largest"), [("50", 500), ("20", 20)])
def test_a_call_carries_as_many_as_its_own_option_says(
    outbox: Outbox, spooling: dict[str, str], start_relay: StartRelay, usual: str, largest: int
) -> None:
    outbox.insert(numbered(1200))
    sizes = {"RELAY_PRODUCER_SPOOL_BATCH_SIZE": "500", "RELAY_BATCH_SIZE": usual}
    worker = start_relay("run", "--drain", env=spooling | sizes)
    assert worker.wait() == 0, worker.report()
    assert outbox.statuses() == {"done": 1200}
    assert outbox.scalar("select max(cardinality(message_ids)) from relay.call") == largest


def test_its_codes_are_explained_and_it_is_asked_without_a_message(
    outbox: Outbox, spool: Path, spooling: dict[str, str], start_relay: StartRelay
) -> None:
    explained = start_relay("explain", "spool.cut", "--json", env=spooling)
    assert explained.wait() == 0, explained.report()
    found = json.loads("".join(explained.stdout))
    assert (found["known"], found["call"]["fault"], found["call"]["pays_attempt"]) == (True, "unknown", True)
    checked = start_relay("check", "--json", env=spooling)
    checked.wait()
    facts = {fact["name"]: fact for fact in json.loads("".join(checked.stdout))["facts"]}
    assert facts["platform"]["sentence"].endswith("MB left for the account default")
    assert facts["accounts"]["sentence"] == "none are needed"
    assert facts["lease"]["sentence"] == "60 s, extended while a call runs"
    assert (outbox.statuses(), list(spool.iterdir())) == ({}, [])


def test_commands_that_open_no_producer_need_no_package(spooling: dict[str, str], start_relay: StartRelay) -> None:
    """``relay add`` in the application's container reads the same settings."""
    added = start_relay("add", "t", "{}", env={**spooling, "PYTHONPATH": str(ROOT)})
    assert added.wait() == 0, added.report()
    worker = start_relay("run", "--drain", env={**spooling, "PYTHONPATH": str(ROOT)})
    assert worker.wait() == 78
    worker.wait_for_line("RELAY_PRODUCER_SPOOL_FOLDER: there is no producer of that name|There is no producer 'spool'")


def test_one_worker_sends_each_message_where_its_account_says(
    outbox: Outbox,
    platform: StrictPlatform,
    env: dict[str, str],
    spool: Path,
    spooling: dict[str, str],
    tmp_path: Path,
    start_relay: StartRelay,
) -> None:
    """The platform, this producer with the options of two accounts, and standard output; one account is misspelt."""
    (spool / "b").mkdir()
    (tmp_path / "relay.toml").write_text(
        f"[producers.spool]\nfolder = '{spool}'\nsync = false\n"
        f"[accounts.a]\nproducer = 'spool'\nkey = '{KEY}'\nbatch_size = 500\n"
        f"[accounts.b]\nproducer = 'spool'\nfolder = '{spool / 'b'}'\nby_topic = true\n"
        "[accounts.print]\nproducer = 'stdout'\n"
        "[accounts.wrong]\nproducer = 'spol'\n"
    )
    (tmp_path / "relay.toml").chmod(0o600)
    counts = {"default": 120, "a": 900, "b": 60, "print": 60, "wrong": 1}
    for account, count in counts.items():
        outbox.execute(
            "insert into relay.outbox (topic, content, account) "
            "select 't' || mod(n, 2), json_build_object('of', cast(%s as text), 'n', n), %s "
            "from generate_series(1, %s) n",
            *(account, account, count),
        )
    environment = env | {"PYTHONPATH": spooling["PYTHONPATH"]}
    worker = start_relay("run", "--drain", env=environment, cwd=tmp_path)
    assert worker.wait() == 78, worker.report()
    worker.wait_for_line("account:wrong is paused: .*there is no producer 'spol'; did you mean spool")
    assert outbox.statuses() == {"done": sum(counts.values()) - 1, "pending": 1}
    arrived = {
        "default": platform.contents,
        "a": [line["content"] for line in lines_of(spool)],
        "b": [line["content"] for line in lines_of(spool / "b")],
        "print": [json.loads(line)["content"] for line in worker.stdout if line.startswith('{"id"')],
    }
    for account, contents in arrived.items():
        sent = outbox.select("select cast(content as text) from relay.outbox where account = %s", account)
        assert sorted(contents) == sorted(content for (content,) in sent)
    assert {file.name.split(".")[0] for file in (spool / "b").iterdir()} == {"t0", "t1"}
    sizes = outbox.select(
        "select account, max(cardinality(message_ids)) from relay.call where outcome <> 'released' group by account"
    )
    largest = dict(sizes)
    assert 25 <= largest.pop("b") <= 30, "one topic's half of what a claim took, or of all"
    assert largest == {"default": 50, "a": 500, "print": 50}
    assert KEY not in worker.report()

    checked = start_relay("check", "--json", env=environment, cwd=tmp_path)
    checked.wait()
    facts = [fact for fact in json.loads("".join(checked.stdout))["facts"] if fact["name"] in ("accounts", "platform")]
    told = [(fact["state"], fact["sentence"]) for fact in facts]
    wrong = ("fail", "relay.toml: [accounts.wrong]: there is no producer 'spol'; did you mean spool?")
    assert told[:2] == [("ok", "default has credentials"), wrong]
    assert told[2][1] == "accepts key, secret and session of the account default"
    assert [sentence.partition(" for the account ")[2] or sentence for _, sentence in told[3:]] == ["a", "b"]
