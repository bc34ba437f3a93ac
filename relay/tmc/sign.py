"""The signature of a TOP request, in the platform's three methods.

The text signed is every parameter except ``sign``, sorted by name in code-point order, name and value run together
with nothing between, values raw (before any url-encoding), UTF-8. The platform's SDKs disagree whether an empty value
belongs to that text, therefore nothing empty is ever sent; here every value given is signed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

SIGN_METHODS = ("hmac-sha256", "hmac", "md5")


def sign(params: Mapping[str, str], secret: str, method: str) -> str:
    """Upper-case hex: 64 digits for ``hmac-sha256``, 32 for ``md5`` and ``hmac`` (which is HMAC-MD5).

    Raises ValueError for any other method.
    """
    text = "".join(f"{name}{params[name]}" for name in sorted(params) if name != "sign").encode()
    key = secret.encode()
    match method:
        case "hmac-sha256":
            digest = hmac.digest(key, text, "sha256")
        case "hmac":
            digest = hmac.digest(key, text, "md5")
        case "md5":
            # The platform's rule, not ours: the secret stands at both ends of the text.
            digest = hashlib.md5(key + text + key, usedforsecurity=False).digest()
        case _:
            raise ValueError(f"sign method {method!r} is none of {', '.join(SIGN_METHODS)}")
    return digest.hex().upper()
