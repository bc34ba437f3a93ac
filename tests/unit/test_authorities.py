"""Whom TLS trusts: what the variables of OpenSSL name is of use, or is told with its name before the first call."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from relay.cli.verbs import relay as command
from relay.errors import ConfigurationError
from relay.producers.authorities import trusting_context
from relay.producers.posting import PostingTransport

CERTIFICATES = httpx.create_ssl_context().get_ca_certs(binary_form=True)


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("garbage").write_bytes(b"\xff\xfe no certificate")
    Path("der").write_bytes(CERTIFICATES[0])
    Path("empty").write_bytes(b"")
    Path("folder").mkdir()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SSL_CERT_FILE", "missing", "missing cannot be read: No such file or directory"),
        ("SSL_CERT_FILE", "folder", "folder cannot be read: Is a directory"),
        ("SSL_CERT_FILE", "garbage", "garbage holds no certificate in PEM form"),
        ("SSL_CERT_FILE", "der", "der holds no certificate in PEM form"),
        ("SSL_CERT_FILE", "empty", "empty holds no certificate in PEM form"),
        ("SSL_CERT_DIR", "missing", "missing cannot be read: No such file or directory"),
        ("SSL_CERT_DIR", "folder:garbage", "garbage cannot be read: Not a directory"),
        ("SSL_CERT_DIR", "folder", "folder holds no certificate under a name that OpenSSL finds (1a2b3c4d.0)"),
    ],
)
def test_authorities_that_cannot_be_read_are_told_by_variable_and_file(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        PostingTransport("https://h/", connect_seconds=1, keepalive_seconds=1)
    assert str(caught.value) == f"{variable}: {said}"
    assert "docs/network.md" in caught.value.hint


def test_authorities_that_can_be_read_are_taken_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, create = list[ssl.SSLContext](), ssl.create_default_context

    def counted(*arguments: Any, **parameters: Any) -> ssl.SSLContext:
        made.append(create(*arguments, **parameters))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    Path("mine").write_text(ssl.DER_cert_to_PEM_cert(CERTIFICATES[0]))
    Path("folder", "1a2b3c4d.0").write_text(Path("mine").read_text())
    monkeypatch.setenv("SSL_CERT_DIR", "folder")
    assert trusting_context() is made.pop()
    monkeypatch.setenv("SSL_CERT_FILE", "mine")
    context = trusting_context()
    assert context.get_ca_certs(binary_form=True) == CERTIFICATES[:1]
    assert made == [context]


def test_authorities_of_no_use_end_no_verb_that_calls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "missing")
    assert CliRunner().invoke(command, ["explain", "27"]).exit_code == 0


@pytest.mark.parametrize("proxy", ["http://", "http://h:port", "http://h:99999", "https://[::1"])
def test_a_proxy_that_is_no_address_is_a_mistake_and_not_a_platform_that_is_away(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="proxy that HTTPS_PROXY names"):
        PostingTransport("https://h/", connect_seconds=1, keepalive_seconds=1)


def test_authorities_that_have_no_end_hold_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pipe"))
    with pytest.raises(ConfigurationError, match=r"SSL_CERT_FILE: .*pipe is no regular file"):
        PostingTransport("https://h/", connect_seconds=1, keepalive_seconds=1)
