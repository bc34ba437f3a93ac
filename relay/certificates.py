"""What is wrong with the certificate of a server, in words of ours: that it expired is for another person than that it
is not trusted here, or stands for another host.

OpenSSL knows it as a number, which httpx and aiohttp pass on. libpq does not: it says "certificate verify failed" and
no more. So the server of PostgreSQL is asked for its certificate once more, the way libpq does, without a login.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

EXPIRED = "the server's certificate has expired, or the clock of this machine is wrong"
UNTRUSTED = "the server's certificate is signed by an authority that is not trusted here"
OF_ANOTHER_HOST = "the server's certificate is for another host"
OURS_REFUSED = "the server refuses our certificate (sslcert): it has expired, or its authority is not trusted there"
NOT_SAID = "the server's certificate is not trusted: an unknown authority, or it has expired"

# X509_V_ERR_... of OpenSSL's x509_vfy.h, which it does not change.
_WORDS = {
    2: UNTRUSTED,
    9: "the server's certificate is not valid yet, or the clock of this machine is wrong",
    10: EXPIRED,
    18: "the server's certificate is signed by itself, and not trusted here",
    19: UNTRUSTED,
    20: UNTRUSTED,
    21: UNTRUSTED,
    23: "the server's certificate is revoked",
    62: OF_ANOTHER_HOST,
    64: OF_ANOTHER_HOST,
}
_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
_SECONDS = 2.0


def trouble(error: BaseException | None) -> str | None:
    """What this error, or one that led to it, says of a certificate; None: nothing."""
    while error is not None:
        if (code := getattr(error, "verify_code", None)) is not None:  # of Python's; aiohttp's own has it as its cause
            return _WORDS.get(code, NOT_SAID)
        error = error.__cause__
    return None


def trouble_of_postgresql(error: BaseException | None) -> str | None:
    """The same of an error of psycopg, for which the server may be asked: comes within some seconds.

    None also where libpq says it by itself (another host), and where no way leads to the server any more.
    """
    tried: Any = getattr(error, "pgconn", None)
    if tried is None or "certificate verify failed" not in str(error):
        return None
    try:
        asked = {option.keyword.decode(): (option.val or b"").decode() for option in tried.info}
        where = (tried.hostaddr or tried.host).decode(), int(tried.port)
        _shake_hands(where, tried.host.decode(), asked.get("sslrootcert", ""))
    except Exception as failed:
        return trouble(failed)
    return None


def _shake_hands(where: tuple[str, int], host: str, authorities: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # libpq looks at that after everything else, and says it
    if authorities == "system":
        context.load_default_certs()
    else:
        context.load_verify_locations(authorities or Path.home() / ".postgresql" / "root.crt")
    with socket.create_connection(where, timeout=_SECONDS) as plain:
        plain.sendall(_SSL_REQUEST)
        if plain.recv(1) == b"S":
            with context.wrap_socket(plain, server_hostname=host) as encrypted, suppress(OSError):
                encrypted.unwrap()
