"""The settings: where they come from, which values are refused, and that no report ever contains a secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from relay.errors import ConfigurationError
from relay.settings import SECRETS, database_url, load, no_color, schema_name, secret_files, service_links

SECRET = "s3cret-do-not-show"


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting comes from outside the test."""
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(**flags: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(**flags)
    assert caught.value.exit_code == 78
    return str(caught.value)


def test_defaults_are_those_of_the_contract() -> None:
    settings = load()
    assert settings.model_dump(exclude={"config", "wakeup"}) == {
        "database_url": None,
        "schema_name": "relay",
        "producer": "tmc",
        "tmc_allow_http": False,
        "tmc_url": "https://eco.taobao.com/router/rest",
        "tmc_app_key": None,
        "tmc_app_secret": None,
        "tmc_session": None,
        "tmc_sign_method": "hmac-sha256",
        "tmc_format": "json",
        "tmc_simplify": False,
        "tmc_timeout_seconds": 15,
        "accounts_query": None,
        "accounts_database_url": None,
        "accounts_dir": None,
        "batch_size": 50,
        "concurrency": 8,
        "poll_interval_ms": 100,
        "linger_ms": 0,
        "rate_limit": 0,
        "lease_seconds": 60,
        "max_attempts": 12,
        "outage_hours": 48,
        "retry_base_seconds": 1,
        "retry_max_seconds": 900,
        "on_unknown": "resend",
        "on_failed_head": "release",
        "archive_after_days": 0,
        "dedupe_keep_days": 0,
        "shutdown_grace_seconds": 25,
        "metrics_host": "*",
        "metrics_port": 9464,
        "metrics_accounts": 20,
        "trace_url": None,
        "log_level": "info",
        "log_format": "auto",
        "dashboard_database_url": None,
        "dashboard_zone": "Asia/Shanghai",
        "dashboard_users_file": None,
        "dashboard_user_header": None,
        "dashboard_trusted_proxies": "",
        "dashboard_allow_actions": False,
        "dashboard_actors": "",
    }, "the default of a setting is a promise: write a new one down here"


def test_each_source_overrules_the_next(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["default", "toml", "file", "environment"]
    found = [load().database_url]
    (empty_place / "relay.toml").write_text('database_url = "postgresql://toml/d"')
    found.append(load().database_url)
    (empty_place / "url").write_text("postgresql://file/d\n")
    monkeypatch.setenv("RELAY_DATABASE_URL_FILE", str(empty_place / "url"))
    found.append(load().database_url)
    monkeypatch.setenv("RELAY_DATABASE_URL", "postgresql://environment/d")
    found.append(load().database_url)
    expected = [None, *(f"postgresql+psycopg://{name}/d" for name in names[1:])]
    assert found == expected
    assert load(database_url="postgresql://flag/d").database_url == "postgresql+psycopg://flag/d"
    assert load(schema="flag").schema_name == "flag"
    assert load(database_url=None).database_url == expected[-1], "a flag that was not given overrules nothing"


def test_the_file_has_flat_keys_or_tables(empty_place: Path) -> None:
    (empty_place / "relay.toml").write_text(
        'batch_size = 20\nschema = "other"\n[tmc]\napp_key = 12345\ntimeout_seconds = 2.5\n[retry]\nmax_seconds = 60\n'
    )
    settings = load()
    assert (settings.batch_size, settings.schema_name, settings.tmc_app_key) == (20, "other", "12345")
    assert (settings.tmc_timeout_seconds, settings.retry_max_seconds) == (2.5, 60)


def test_another_file_can_be_named(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_place / "relay.toml").write_text("batch_size = 20")
    (empty_place / "other.toml").write_text("batch_size = 30")
    monkeypatch.setenv("RELAY_CONFIG", "other.toml")
    assert load().batch_size == 30
    monkeypatch.setenv("RELAY_CONFIG", "missing.toml")
    assert refusal() == "missing.toml cannot be read: No such file or directory"


def test_unknown_keys_of_the_file_are_reported_with_the_nearest(empty_place: Path) -> None:
    (empty_place / "relay.toml").write_text("batchsize = 1\n[tmc]\napp_kye = 2\n[what]\never = 3\n")
    assert refusal().splitlines() == [
        "relay.toml: unknown key batchsize; did you mean batch_size?",
        "relay.toml: unknown key tmc_app_kye; did you mean tmc_app_key?",
        "relay.toml: unknown key what_ever",
    ]


def test_where_a_value_that_is_wrong_was_given_is_said(empty_place: Path) -> None:
    written = 'concurrency = true\nlog_level = "loud"\nlinger_ms = false\n[producers.tmc]\nfoo = 1\nsesion = "x"\n'
    (empty_place / "relay.toml").write_text(written)
    said = refusal(batch_size=0).splitlines()
    assert said[:2] == [
        "relay.toml: unknown key foo in [producers.tmc]",
        "relay.toml: unknown key sesion in [producers.tmc]; did you mean session?",
    ]
    assert set(said[2:]) == {
        "RELAY_LOG_LEVEL: must be 'debug', 'info', 'warning' or 'error', got loud (log_level in relay.toml)",
        "RELAY_BATCH_SIZE: must be between 1 and 50, got 0 (given as batch_size)",
        "RELAY_CONCURRENCY: must be a number, got True (concurrency in relay.toml)",
        "RELAY_LINGER_MS: must be a number, got False (linger_ms in relay.toml)",
    }


def test_a_file_that_is_no_toml_is_refused_without_quoting_it(empty_place: Path) -> None:
    (empty_place / "relay.toml").write_text(f'tmc_app_secret = "{SECRET}')
    report = refusal()
    assert report.startswith("relay.toml: ")
    assert SECRET not in report


def test_unknown_variables_are_reported_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_BACH_SIZE", "1")
    monkeypatch.setenv("RELAY_TMC_APP_SECRETS", SECRET)
    assert refusal().splitlines() == [
        "RELAY_BACH_SIZE: unknown setting; did you mean RELAY_BATCH_SIZE?",
        "RELAY_TMC_APP_SECRETS: unknown setting; did you mean RELAY_TMC_APP_SECRET?",
    ]


def test_variables_of_tests_and_of_kubernetes_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RELAY_TEST_DATABASE_URL": "x",
        "RELAY_SERVICE_HOST": "10.0.0.1",
        "RELAY_SERVICE_PORT_METRICS": "9464",
        "RELAY_PORT": "tcp://10.0.0.1:9464",
        "RELAY_PORT_9464_TCP_ADDR": "10.0.0.1",
        "RELAY_WEB_PORT": "tcp://10.0.0.1:80",
    }.items():
        monkeypatch.setenv(name, value)
    assert load().batch_size == 50
    monkeypatch.setenv("RELAY_METRIC_PORT", "9000")
    assert refusal() == "RELAY_METRIC_PORT: unknown setting; did you mean RELAY_METRICS_PORT?"


def test_a_kubernetes_service_named_like_an_option_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service "relay-metrics" gives every container beside it these variables; whoever asks is told to warn."""
    for name, value in {
        "RELAY_METRICS_SERVICE_HOST": "10.0.0.1",
        "RELAY_METRICS_SERVICE_PORT": "9464",
        "RELAY_METRICS_SERVICE_PORT_HTTP": "9464",
        "RELAY_METRICS_PORT": "tcp://10.0.0.1:9464",
        "RELAY_METRICS_PORT_9464_TCP": "tcp://10.0.0.1:9464",
        "RELAY_METRICS_PORT_9464_TCP_PROTO": "tcp",
        "RELAY_METRICS_PORT_9464_TCP_PORT": "9464",
        "RELAY_METRICS_PORT_9464_TCP_ADDR": "10.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    assert load().metrics_port == 9464
    assert service_links() == ["RELAY_METRICS_PORT"]
    monkeypatch.setenv("RELAY_METRICS_PORT", "9000")
    assert (load().metrics_port, service_links()) == (9000, [])
    monkeypatch.setenv("RELAY_METRICS_PORT", "http://10.0.0.1:9464")
    assert refusal() == "RELAY_METRICS_PORT: must be a whole number, got http://10.0.0.1:9464"


def test_a_working_directory_that_may_not_be_looked_into_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user is not always the owner of the folder it starts in."""

    def forbidden(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", forbidden)
    assert load().batch_size == 50
    assert secret_files(load().file) == []
    monkeypatch.setenv("RELAY_CONFIG", "/nowhere/relay.toml")
    assert "/nowhere/relay.toml" in refusal()


@pytest.mark.parametrize(
    "address",
    [
        "https://traces.example.com/",
        "ftp://traces.example.com/{trace_id}",
        "https://ann:swordfish@traces.example.com/{trace_id}",
        "https://[swordfish/{trace_id}",
        "{trace_id}",
    ],
)
def test_a_trace_has_an_address_that_can_be_shown(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_TRACE_URL", address)
    said = refusal()
    assert said.startswith("RELAY_TRACE_URL: must be an http or https address with {trace_id} in it")
    assert "swordfish" not in said
    monkeypatch.setenv("RELAY_TRACE_URL", "https://traces.example.com/t/{trace_id}?org=1")
    assert load().trace_url == "https://traces.example.com/t/{trace_id}?org=1"


def test_every_problem_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RELAY_BATCH_SIZE": "99",
        "RELAY_CONCURRENCY": "many",
        "RELAY_MAX_ATTEMPTS": "0",
        "RELAY_TMC_TIMEOUT_SECONDS": "nan",
        "RELAY_ON_UNKNOWN": "drop",
        "RELAY_TMC_SIMPLIFY": "perhaps",
        "RELAY_RETRY_BASE_SECONDS": "0",
        "RELAY_SCHEMA": "x" * 64,
        "RELAY_WRONG": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert set(refusal().splitlines()) == {
        "RELAY_BATCH_SIZE: must be between 1 and 50, got 99",
        "RELAY_CONCURRENCY: must be a whole number, got many",
        "RELAY_MAX_ATTEMPTS: must be between 1 and 1000000, got 0",
        "RELAY_TMC_TIMEOUT_SECONDS: must be a finite number, got nan",
        "RELAY_ON_UNKNOWN: must be 'resend' or 'hold', got drop",
        "RELAY_TMC_SIMPLIFY: must be true or false, got perhaps",
        "RELAY_RETRY_BASE_SECONDS: must be more than 0 and at most 31,536,000, got 0",
        f"RELAY_SCHEMA: must be a name of 1 to 63 bytes, got {'x' * 64}",
        "RELAY_WRONG: unknown setting",
    }


@pytest.mark.parametrize("flag", SECRETS)
def test_secrets_are_in_no_report_and_no_representation(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SECRET not in refusal(**{flag: [SECRET]})
    secret = f"postgresql://u:{SECRET}@h/d" if flag.endswith("_url") else SECRET
    settings = load(**{flag: secret})
    assert SECRET not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    "url",
    [f"mysql://u:{SECRET}@h/d", f"postgresql://u:{SECRET}@h:port/d", f"u:{SECRET}@h", f"postgresql://u@h:{SECRET}"],
)
def test_a_wrong_url_is_refused_without_showing_it(url: str) -> None:
    report = refusal(database_url=url)
    assert report.startswith("RELAY_DATABASE_URL: The database URL must ")
    assert SECRET not in report


@pytest.mark.parametrize("part", [f"x@{SECRET}", f"x@{SECRET}/y", f"x@{SECRET}?y"])
@pytest.mark.parametrize("flag", ["database_url", "accounts_database_url"])
def test_a_password_with_an_at_is_refused_without_a_part_of_it(flag: str, part: str) -> None:
    assert refusal(**{flag: f"postgresql://u:{part}@127.0.0.1:1/d"}) == (
        f"RELAY_{flag.upper()}: The database URL must have one @, before the host: write @ in a password as %40"
        f" (given as {flag})"
    )


def test_secrets_come_from_files(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_place / "secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("RELAY_TMC_APP_KEY", "1")
    monkeypatch.setenv("RELAY_TMC_APP_SECRET_FILE", "secret")
    monkeypatch.setenv("RELAY_TMC_SESSION_FILE", "secret")
    assert load().default_credential(needed=True) == ("1", SECRET, SECRET)
    monkeypatch.setenv("RELAY_TMC_SESSION_FILE", "nowhere")
    assert refusal() == "RELAY_TMC_SESSION_FILE: nowhere cannot be read: No such file or directory"


def test_credentials_are_asked_for_only_when_needed() -> None:
    with pytest.raises(ConfigurationError, match="needs RELAY_TMC_APP_KEY and RELAY_TMC_APP_SECRET"):
        load().default_credential(needed=True)
    with pytest.raises(ConfigurationError, match="needs RELAY_TMC_APP_SECRET"):
        load(tmc_app_key="1", tmc_app_secret="").default_credential(needed=True)
    assert load(tmc_app_key="1", tmc_app_secret="x").default_credential(needed=True) == ("1", "x", None)


@pytest.mark.parametrize(
    ("lease", "timeout", "least"), [(4, 2, None), (3, 2, None), (2.9, 2, "3"), (75, 60, None), (74, 60, "75")]
)
def test_a_lease_outlasts_its_call(lease: float, timeout: float, least: str | None) -> None:
    if least is None:
        assert load(lease_seconds=lease, tmc_timeout_seconds=timeout).lease_seconds == lease
    else:
        expected = (
            f"RELAY_LEASE_SECONDS: must be at least {least} with RELAY_TMC_TIMEOUT_SECONDS {timeout:g}, got {lease}"
            " (given as lease_seconds)"
        )
        assert refusal(lease_seconds=lease, tmc_timeout_seconds=timeout) == expected


def test_the_default_lease_is_checked_too() -> None:
    assert refusal(tmc_timeout_seconds=59).startswith("RELAY_LEASE_SECONDS: must be at least 73.75 ")


def test_the_longest_retry_is_not_below_the_shortest() -> None:
    assert refusal(retry_base_seconds=10, retry_max_seconds=5).startswith("RELAY_RETRY_MAX_SECONDS: must not be less")


def test_keys_are_not_forgotten_on_the_day_they_left() -> None:
    for days in (0, 1, 400.5):
        assert load(dedupe_keep_days=days).dedupe_keep_days == days
    assert "RELAY_DEDUPE_KEEP_DAYS: must be 0 or at least 1" in refusal(dedupe_keep_days=0.5)
    assert refusal(dedupe_keep_days=-1).startswith("RELAY_DEDUPE_KEEP_DAYS: ")


def test_workers_archive_nothing_on_the_day_it_ended() -> None:
    for days in (0, 1, 30.5):
        assert load(archive_after_days=days).archive_after_days == days
    assert "RELAY_ARCHIVE_AFTER_DAYS: must be 0 or at least 1" in refusal(archive_after_days=0.5)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/r", "http://[::1]/r", "http://localhost/r", "https://example.com/r"]
)
def test_plain_http_stays_on_this_host(url: str) -> None:
    assert load(tmc_url=url).tmc_url == url


@pytest.mark.parametrize("url", ["http://example.com/r", "http://127.0.0.1.example.com/r", "ftp://h/r", "https:///r"])
def test_other_addresses_are_refused(url: str) -> None:
    assert refusal(tmc_url=url).startswith("RELAY_TMC_URL: must be ")


@pytest.mark.parametrize(
    "url", [f"ftp://u:{SECRET}@h", f"http://u:{SECRET}@h/r", f"https://u:[{SECRET}]@h/r", f"u:{SECRET}@h"]
)
def test_an_address_that_is_refused_is_not_shown(url: str) -> None:
    assert SECRET not in refusal(tmc_url=url)


def test_plain_http_can_be_allowed() -> None:
    assert load(tmc_url="http://example.com/r", tmc_allow_http=True).tmc_url == "http://example.com/r"


def test_a_wake_up_of_a_later_version_is_refused() -> None:
    assert load(wakeup="poll").wakeup == "poll"
    assert load(wakeup="notify").wakeup == "notify"
    assert refusal(wakeup="never") == "RELAY_WAKEUP: must be 'auto', 'poll' or 'notify', got never (given as wakeup)"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_BATCH_SIZE", "")
    monkeypatch.setenv("RELAY_LOG_LEVEL", "DEBUG")
    assert (load().batch_size, load().log_level) == (50, "debug")


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", True), ("", False)])
def test_colours_can_be_turned_off_for_every_program(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    assert no_color() is expected


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().batch_size = 1


def test_a_missing_url_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as caught:
        database_url()
    assert caught.value.hint.startswith("Set RELAY_DATABASE_URL")
    monkeypatch.setenv("RELAY_DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("RELAY_SCHEMA", "Other")
    assert (database_url(), schema_name()) == ("postgresql+psycopg://h/d", "Other")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease_seconds", 1e18),
        ("retry_max_seconds", 1e18),
        ("retry_base_seconds", 1e300),
        ("poll_interval_ms", 10**400),
        ("linger_ms", 10**12),
        ("rate_limit", 1e300),
        ("max_attempts", 2**40),
        ("shutdown_grace_seconds", 1e300),
        ("tmc_timeout_seconds", 1e300),
    ],
)
def test_no_setting_is_so_large_that_the_database_cannot_count_with_it(name: str, value: float) -> None:
    assert f"RELAY_{name.upper()}: must be " in refusal(**{name: value})
