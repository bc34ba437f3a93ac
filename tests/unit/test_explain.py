"""``relay explain``: every code that is known is explained, and what the relay does is what the relay does."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import relay
from relay.cli.verbs import relay as command
from relay.explanations import Explanation, ours
from relay.explanations import explain as explained
from relay.message import CallKey, Fault, Scope
from relay.outcomes import Policy, lapsed
from relay.tmc.explaining import entries as of_the_platform
from relay.tmc.explaining import explain as explain_platform
from relay.tmc.reconcile import UNPROVEN

SOURCES = [path for path in sorted(Path(relay.__file__).parent.rglob("*.py")) if path.name != "settings.py"]
# Names that begin like a code and are none: tables, settings of the session, entry points, modules, files.
NO_CODES = {
    "relay.lock_timeout",
    "relay.lock_timeout_before",
    "relay.producers",
    "relay.pruning",
    "relay.redacting",
    "relay.salting",
    "relay.toml",
    "relay.transport",
    "relay.zone",
    "relay.last_id",
    "relay.look_again",
    "relay.position",
    "relay.last_call",
    "relay.look_at_calls",
    "relay.wake",
    # Attributes and events of spans.
    *(f"relay.{name}" for name in ("account", "call_id", "dedupe_key_was_there", "not_accepted", "outcome")),
    *(
        f"relay.{name}"
        for name in ("outcomes", "oldest_outbox_seconds", "outbox_seconds", "request_id", "result_index")
    ),
}

# The codes and sub codes of the platform that are documented or were recorded.
NUMBERS = [*range(1, 14), 15, *range(21, 35), *range(40, 48), 50, 52, 53, *range(100, 106)]
SUB_CODES = [
    *(f"accesscontrol.limited-by-{what}-access-count" for what in ("app", "api", "app-api", "dynamic")),
    *("isp.call-limited", "isv.permission-api-package-limit", "isv.permission-api-package-empty"),
    *("isv.permission-api-package-not-allowed", "isv.permission-ip-whitelist-limit"),
    *("isv.permission-api-widget-only-limit", "isv.w2-security-authorize-invalid", "invalid-sessionkey"),
    *("session-expired", "session-not-exist", "session-is-blank", "sessionkey-not-generated-by-server:sandbox"),
    *(f"isp.top-remote-{what}" for what in ("connection-timeout", "connection-error", "service-unavailable")),
    *("isp.top-remote-unknown-error", "isp.remote-connection-error", "isp.remote-service-error"),
    *("isp.remote-service-timeout", "isp.service-unavailable", "isp.service-error", "isp.system-error"),
    *("isp.unknown-error", "isp.remote-service-error-tmall", "isp.null-pointer-exception", "isp.top-parse-error"),
    *("isp.top-mapping-parse-error", "isp.invalid-parameters", "isv.invalid-parameter", "isv.invalid-parameters"),
    *("isv.invalid-parameter:messages", "isv.missing-parameter:topic", "isv.invalid-permission"),
    *("isv.user-not-exist:nick", "isv.appkey-not-exists", "isp.http-closed", "isv.missing-parameter:session"),
    *("isv.persistent-session-not-exist", "isv.invalid-persistent-session-pattern", "isv.request-replay-error"),
    *("isv.timestamp-limit-error", "isv.invalid-timestamp", "isv.invalid-signature"),
]


# Django's permissions have names like ours, and are asked for in one way.
CODE = r"""(?<!has_perm\()["'](relay\.[a-z]+(?:_[a-z]+)*)["']"""


def codes_of_ours() -> set[str]:
    found = {code for path in SOURCES for code in re.findall(CODE, path.read_text(encoding="utf-8"))}
    modules = {
        ".".join(("relay", path.relative_to(SOURCES[0].parent).parts[0].removesuffix(".py"))) for path in SOURCES
    }
    return found - NO_CODES - modules


def explain(code: str) -> Explanation:
    return explained(code, explain_platform)


def entries() -> dict[str, dict[str, str]]:
    return {**of_the_platform(), **ours()}


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, ["explain", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("code", [*map(str, NUMBERS), *SUB_CODES])
def test_every_code_of_the_platform_is_explained(code: str) -> None:
    found = explain(code)
    assert found.known
    assert found.call is not None
    assert found.message is not None


def test_every_code_of_ours_is_explained_and_no_other() -> None:
    explained = {code for code in entries() if code.startswith("relay.")}
    assert codes_of_ours() == explained - {"relay.http_*"}
    assert len(explained) > 10


def test_the_fault_of_our_codes_is_that_of_the_source() -> None:
    said = {
        (code, Fault[fault])
        for path in SOURCES
        for fault, code in re.findall(r'Fault\.([A-Z]+), "(relay\.[a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    assert len(said) >= 6
    for code, fault in said:
        found = explain(code)
        assert {consequence.fault for consequence in (found.call, found.message) if consequence} == {fault}, code
    (lapse,) = lapsed(CallKey(1, 5), "default", [(1, 0)], Policy(), random.Random(1)).verdicts
    assert explain(str(lapse.code)).call == explain("relay.connection_cut").call
    assert explain(str(UNPROVEN.code)).message is not None


@pytest.mark.parametrize(("code", "entry"), entries().items())
def test_each_text_is_a_line_in_its_language(code: str, entry: dict[str, str]) -> None:
    assert entry.keys() <= {"en", "zh", "ask", "ask_zh", "code", "fault", "scope", "of"}
    assert not set(entry).intersection({"fault", "scope", "of"}) or code.startswith("relay.")
    assert all(entry[name] == entry[name].strip() and "\n" not in entry[name] for name in ("en", "zh", "ask", "ask_zh"))
    assert entry["en"].isascii()
    assert all(re.search(r"[一-鿿]", entry[name]) for name in ("zh", "ask_zh"))
    assert not re.search(r"[一-鿿]", entry["ask"])


def test_whom_to_ask_and_what_follows_is_said_in_chinese_wherever_it_is_in_english() -> None:
    """One Chinese sentence for one English one, and the numbers and names of settings in both."""
    told = dict[str, str]()
    for code in [*entries(), "never-heard-of"]:
        found = explain(code)
        pairs = [(one.sentence, one.sentence_zh) for one in (found.call, found.message) if one]
        for english, chinese in [*pairs, (found.ask, found.ask_zh)]:
            assert told.setdefault(english, chinese) == chinese
            assert re.search(r"[一-鿿]", chinese), english
            assert re.findall(r"RELAY_\w+|\d+", chinese) == re.findall(r"RELAY_\w+|\d+", english)


@pytest.mark.parametrize(
    ("code", "fault", "concerns", "retried", "pays", "pauses"),
    [
        ("7", Fault.THROTTLED, Scope.APP, True, False, True),
        ("27", Fault.CREDENTIALS, Scope.ACCOUNT, True, False, True),
        ("25", Fault.CREDENTIALS, Scope.APP, True, False, True),
        ("31", Fault.OURS, Scope.APP, True, False, True),
        ("40", Fault.CONTENT, Scope.ACCOUNT, True, False, False),
        ("isp.service-unavailable", Fault.PROVIDER, Scope.APP, True, True, False),
        ("isp.remote-service-error", Fault.UNKNOWN, Scope.ACCOUNT, True, True, False),
        ("isp.http-closed", Fault.UNKNOWN, Scope.ACCOUNT, True, True, False),
        ("isv.persistent-session-not-exist", Fault.CREDENTIALS, Scope.ACCOUNT, True, False, True),
        ("isv.missing-parameter:session", Fault.CREDENTIALS, Scope.ACCOUNT, True, False, True),
        ("isv.request-replay-error", Fault.OURS, Scope.APP, True, False, True),
        ("isp.remote-service-timeout", Fault.UNKNOWN, Scope.ACCOUNT, True, True, False),
        ("isv.w2-security-authorize-invalid", Fault.CREDENTIALS, Scope.ACCOUNT, True, False, True),
        ("relay.unreachable", Fault.PROVIDER, Scope.APP, True, True, False),
        ("relay.http_429", Fault.THROTTLED, Scope.APP, True, False, True),
        ("relay.http_502", Fault.UNKNOWN, Scope.ACCOUNT, True, True, False),
    ],
)
def test_what_follows_for_a_call(
    code: str, fault: Fault, concerns: Scope, retried: bool, pays: bool, pauses: bool
) -> None:
    found = explain(code).call
    assert found is not None
    assert (found.fault, found.concerns) == (fault, concerns)
    assert (found.retried, found.pays_attempt, found.pauses) == (retried, pays, pauses)


def test_what_follows_for_one_message() -> None:
    found = explain("isv.invalid-parameter").message
    assert found is not None
    assert (found.fault, found.retried, found.sentence) == (Fault.MESSAGE, False, "failed at once")


@pytest.mark.parametrize("code", ["relay.expired", "relay.discarded", "relay.attempts_exhausted"])
def test_an_end_has_no_consequence(code: str) -> None:
    found = explain(code)
    assert (found.known, found.call, found.message) == (True, None, None)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("isv.no-such-thing", "the call is split into halves"),
        ("isp.no-such-thing", "nobody knows whether it arrived"),
        ("isp.no-such-service-unavailable", "sent again after a delay"),
        ("accesscontrol.no-such-thing", "the app is paused for as long as the platform says, else 1 s"),
        ("isv.access-limited-by-user-access-count", "the app is paused"),
        ("900", "nobody knows whether it arrived"),
        ("ISV.No-Such-Thing", "the call is split into halves"),
        ("关闭", "failed at once"),
        ("", "Not documented"),
        ("relay.nonsense", "Not documented"),
        ("relay.http_x", "HTTP status"),
    ],
)
def test_an_unknown_code_is_judged_by_its_beginning(code: str, says: str) -> None:
    assert says in run(code)
    assert explain(code).known == (code == "relay.http_x")


def test_the_daily_quota_ends_at_midnight_in_beijing() -> None:
    assert "until midnight in Beijing" in run("accesscontrol.limited-by-app-access-count")


def test_for_programs() -> None:
    document: dict[str, Any] = json.loads(run("27", "--json"))
    assert document["code"] == "27"
    assert document["call"]["fault"] == "credentials"
    assert document["message"]["fault"] == "credentials"
    assert "as for a call" in document["message"]["sentence"]
    assert document["meaning_zh"].startswith("SessionKey")


def test_a_code_that_nobody_knows_is_told_as_one() -> None:
    found = explained("spool.cut")
    assert (found.known, found.call, found.message) == (False, None, None)
    assert found.meaning.startswith("No producer")


def test_the_codes_of_the_platform_are_explained_whatever_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = explain("isv.permission-api-package-limit").meaning
    for name, value in {"RELAY_PRODUCER": "stdout", "RELAY_BATCH_SIZE": "many"}.items():
        monkeypatch.setenv(name, value)
        assert expected in run("isv.permission-api-package-limit"), name
