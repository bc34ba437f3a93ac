"""Certificates that are refused, by real handshakes: what is wrong with one is told, whoever presents it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from relay import certificates
from relay.cli.verbs import relay as command
from relay.credential import Credential
from relay.message import Batch, Message, Refused
from relay.producers import ProducerContext
from relay.producers.tmc import TmcOptions, TmcProducer
from relay.store.connections import lost

# The name of each: for how many days it is good, for which host, by which authority.
ISSUED = {
    "expired": (-1, "localhost", "ours"),
    "elsewhere": (10, "example.com", "ours"),
    "unknown": (10, "localhost", "other"),
}
WRONG = {
    "expired": certificates.EXPIRED,
    "elsewhere": certificates.OF_ANOTHER_HOST,
    "unknown": certificates.UNTRUSTED,
    "other": "the server's certificate is signed by itself, and not trusted here",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys as files, made in a third of a second; ``ours`` is the authority that is trusted."""
    made = tmp_path_factory.mktemp("certificates")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and nothing else here makes certificates")

    def openssl(*arguments: str) -> None:
        ended = subprocess.run(["openssl", *arguments], cwd=made, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ours", "other"):
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", "/CN=localhost", "-days", "10")
        openssl("req", "-x509", *key, *files)
    for name, (days, host, by) in ISSUED.items():
        openssl("req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}")
        (made / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\n")
        signed = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", str(days), *signed)
    return made


@contextmanager
def presenting(folder: Path, name: str, *, asked_first: bool) -> Iterator[int]:
    """The port of a server that shakes hands with this certificate, and no more; ``asked_first`` as PostgreSQL does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")

    def serve() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listening.accept()
                with plain, suppress(OSError):
                    plain.settimeout(5)
                    if asked_first:
                        plain.recv(8)
                        plain.sendall(b"S")
                    context.wrap_socket(plain, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)  # closing alone would not wake whoever accepts
            thread.join(10)


@pytest.mark.parametrize(("name", "said"), WRONG.items())
async def test_what_is_wrong_with_the_certificate_of_the_platform_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ours.pem"))
    credential = Credential("12345678", "s" * 32, None)
    with presenting(folder, name, asked_first=False) as port:
        producer = TmcProducer(
            ProducerContext(
                TmcOptions(url=f"https://localhost:{port}/router/rest"),
                timeout_seconds=5.0,
                credentials=lambda _account: credential,
            )
        )
        await producer.open()
        answer = await producer.produce(Batch(1, "default", (Message(1, "t", "{}"),)))
        await producer.close()
    assert isinstance(answer, Refused)
    told = f"nothing was sent: localhost:{port}: {said} (docs/network.md)"
    assert (answer.code, answer.message) == ("relay.unreachable", told)


@pytest.mark.parametrize(("name", "said"), WRONG.items())
def test_what_is_wrong_with_the_certificate_of_postgresql_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    """libpq alone says "certificate verify failed" of all but one."""
    asked = f"sslmode=verify-full&sslrootcert={folder / 'ours.pem'}&connect_timeout=5"
    with presenting(folder, name, asked_first=True) as port:
        url = f"postgresql+psycopg://relay@localhost:{port}/shop?{asked}"
        engine = create_engine(url)
        with pytest.raises(DBAPIError) as caught:
            engine.connect()
        engine.dispose()
        error = lost(caught.value)
        monkeypatch.setenv("RELAY_DATABASE_URL", url)
        told = CliRunner().invoke(command, ["status"])
    assert (str(error), error.cause) == (f"PostgreSQL was lost: {said}.", "tls")
    assert told.exit_code == 69
    assert said in told.stderr or "does not match host name" in told.stderr


def test_nobody_is_asked_where_no_way_leads_to_the_server_or_it_is_about_something_else() -> None:
    gone = psycopg.OperationalError("SSL error: certificate verify failed")
    assert certificates.trouble_of_postgresql(gone) is None
    assert certificates.trouble_of_postgresql(None) is None
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect("host=127.0.0.1 port=1 connect_timeout=1")
    assert certificates.trouble_of_postgresql(refused.value) is None
