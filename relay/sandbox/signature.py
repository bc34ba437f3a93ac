"""Is this call signed with the app's secret? Written from the platform's rule alone, apart from the signing client.

All parameters but ``sign``, sorted by name in code-point order, name and value joined with nothing between, raw UTF-8:
``md5`` is MD5(secret + text + secret), ``hmac`` is HMAC-MD5 and ``hmac-sha256`` HMAC-SHA256 with the secret as key,
each in upper-case hex. The official SDKs disagree on blank values (some sign the bare name, some leave it out), and
which of them the gateway follows is not known: both are taken as right here. A call without ``sign_method``
is never right.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping


def is_signed(params: Mapping[str, str], secret: str) -> bool:
    """Whether ``params["sign"]`` is the sign of all the others under this secret."""
    method = params.get("sign_method", "")
    signed = {name: value for name, value in params.items() if name != "sign"}
    without_blanks = {name: value for name, value in signed.items() if value.strip()}
    given = params.get("sign", "").encode()
    expected = [sign.encode() for each in (signed, without_blanks) if (sign := sign_of(each, secret, method))]
    return any(hmac.compare_digest(given, sign) for sign in expected)


def sign_of(params: Mapping[str, str], secret: str, method: str) -> str | None:
    """The sign of these parameters, ``sign`` not among them; None for a method that does not exist."""
    text = "".join(name + params[name] for name in sorted(params)).encode()
    key = secret.encode()
    match method:
        case "md5":
            return hashlib.md5(key + text + key, usedforsecurity=False).hexdigest().upper()
        case "hmac":
            return hmac.new(key, text, "md5").hexdigest().upper()
        case "hmac-sha256":
            return hmac.new(key, text, "sha256").hexdigest().upper()
        case _:
            return None
