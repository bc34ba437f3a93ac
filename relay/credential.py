"""Who signs a call: the app key and its secret, and whose session speaks.

A credential never shows itself: its repr names the last four digits of the app key and nothing else. Its fingerprint
tells two credentials apart without storing either, so that a renewed session can lift a pause by itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass


def fingerprint(*texts: str) -> str:
    """16 hex digits over these secrets in this order."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """``session`` is the user's authorization; the messages of one call are all attributed to that user.

    It belongs to the app key it was issued for. Topics that concern no user need none.
    """

    app_key: str
    app_secret: str
    session: str | None = None

    def __repr__(self) -> str:
        return f"Credential(app_key='…{self.app_key[-4:]}')"

    @property
    def fingerprint(self) -> str:
        """16 hex digits over all three parts; an absent session and an empty one are the same."""
        return fingerprint(self.app_key, self.app_secret, self.session or "")
