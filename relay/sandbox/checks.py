"""The gate: may this call come in at all? Pure checks of the public parameters, in the order the platform reports them.

    verb 9 -> missing 28 24 21 30 32 -> format 23 -> version 33 34 -> timestamp 31 -> app key 29
      -> throttle 7 -> method 22 -> sign 25 -> session 26 27 -> permission 11 -> business arguments 40 41

An unknown app key is reported before the sign is judged, a throttled app before its method is looked at. Throttling is
kept by the platform and permission is a fault, so this module knows the rest. A blank parameter counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, auto

from relay.sandbox.answers import Refusal
from relay.sandbox.signature import is_signed

PRODUCE = "taobao.tmc.messages.produce"
CLOCK_TOLERANCE_SECONDS = 600
REQUIRED = {
    "app_key": Refusal(28, "Missing app key"),
    "sign": Refusal(24, "Missing signature"),
    "method": Refusal(21, "Missing method"),
    "timestamp": Refusal(30, "Missing timestamp"),
    "v": Refusal(32, "Missing version"),
}


class Stage(IntEnum):
    """Where in the order a check, or a fault that imitates it, has its place."""

    ARRIVAL = auto()
    VERB = auto()
    MISSING = auto()
    FORMAT = auto()
    VERSION = auto()
    CLOCK = auto()
    APP = auto()
    THROTTLE = auto()
    METHOD = auto()
    SIGN = auto()
    SESSION = auto()
    PERMISSION = auto()
    CONTENT = auto()
    BACKEND = auto()


@dataclass(frozen=True, slots=True)
class App:
    """An app the sandbox knows: its secret, and the sessions that users granted to it."""

    secret: str = field(repr=False)
    sessions: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One call as it arrived; ``params`` are query and form together, ``now`` is in seconds since the epoch."""

    verb: str
    params: Mapping[str, str]
    now: float
    apps: Mapping[str, App]
    session_required: bool = False

    def get(self, name: str) -> str:
        """The parameter, without blanks around it; empty where it is missing."""
        return self.params.get(name, "").strip()

    @property
    def app_key(self) -> str:
        """Whose request it is; empty where it does not say."""
        return self.get("app_key")

    @property
    def form(self) -> str:
        """``json`` when asked for; the platform answers XML to everybody else."""
        return "json" if self.get("format") == "json" else "xml"

    @property
    def simplify(self) -> bool:
        """Whether lists come without the element around them."""
        return self.get("simplify") in ("true", "1")


def _verb(request: Request) -> Refusal | None:
    return None if request.verb in ("GET", "POST") else Refusal(9, "Http action not allowed")


def _missing(request: Request) -> Refusal | None:
    return next((refusal for name, refusal in REQUIRED.items() if not request.get(name)), None)


def _format(request: Request) -> Refusal | None:
    return None if request.get("format") in ("", "json", "xml") else Refusal(23, "Invalid format")


def _version(request: Request) -> Refusal | None:
    version = request.get("v")
    if version == "2.0":
        return None
    return Refusal(34, "Unsupported version") if re.fullmatch(r"\d+\.\d+", version) else Refusal(33, "Invalid version")


def _clock(request: Request) -> Refusal | None:
    moment = moment_of(request.get("timestamp"))
    if moment is not None and abs(moment - request.now) <= CLOCK_TOLERANCE_SECONDS:
        return None
    return Refusal(31, "Invalid timestamp")


def _app(request: Request) -> Refusal | None:
    return None if request.app_key in request.apps else Refusal(29, "Invalid app Key", "isv.appkey-not-exists")


def _method(request: Request) -> Refusal | None:
    return None if request.get("method") == PRODUCE else Refusal(22, "Invalid method")


def _sign(request: Request) -> Refusal | None:
    known = request.apps[request.app_key]
    return None if is_signed(request.params, known.secret) else Refusal(25, "Invalid signature")


def _session(request: Request) -> Refusal | None:
    session = request.get("session")
    if not session:
        return Refusal(26, "Missing session") if request.session_required else None
    known = request.apps[request.app_key]
    return None if session in known.sessions else Refusal(27, "Invalid session", "invalid-sessionkey")


CHECKS: dict[Stage, Callable[[Request], Refusal | None]] = {
    Stage.VERB: _verb,
    Stage.MISSING: _missing,
    Stage.FORMAT: _format,
    Stage.VERSION: _version,
    Stage.CLOCK: _clock,
    Stage.APP: _app,
    Stage.METHOD: _method,
    Stage.SIGN: _sign,
    Stage.SESSION: _session,
}
GATE = tuple(stage for stage in Stage if stage < Stage.CONTENT)  # CONTENT and BACKEND need the messages read


def moment_of(timestamp: str) -> float | None:
    """Seconds since the epoch of ``yyyy-MM-dd HH:mm:ss`` at +08:00, or of the digits of epoch milliseconds."""
    if re.fullmatch(r"[0-9]{1,15}", timestamp):
        return int(timestamp) / 1000
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", timestamp):
        return None
    try:
        return datetime.fromisoformat(f"{timestamp}+08:00").timestamp()
    except ValueError:
        return None
