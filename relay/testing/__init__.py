"""What an application's own tests need of the relay: an emptied database, what was written, a scripted platform.

The fixtures are in ``plugin`` (docs/testing.md); everything they give is here without pytest. Nothing is
loaded before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay import _loading

if TYPE_CHECKING:
    from relay.testing.connections import is_asynchronous
    from relay.testing.draining import Drain
    from relay.testing.emptying import NotATestDatabase, empty, empty_async, empty_at
    from relay.testing.platform import ArrivedMessage, ScriptedPlatform
    from relay.testing.written import AsyncOutbox, Outbox, WrittenMessage

_HOMES = {
    "ArrivedMessage": "relay.testing.platform",
    "AsyncOutbox": "relay.testing.written",
    "Drain": "relay.testing.draining",
    "NotATestDatabase": "relay.testing.emptying",
    "Outbox": "relay.testing.written",
    "ScriptedPlatform": "relay.testing.platform",
    "WrittenMessage": "relay.testing.written",
    "empty": "relay.testing.emptying",
    "empty_async": "relay.testing.emptying",
    "empty_at": "relay.testing.emptying",
    "is_asynchronous": "relay.testing.connections",
}

__all__ = [
    "ArrivedMessage",
    "AsyncOutbox",
    "Drain",
    "NotATestDatabase",
    "Outbox",
    "ScriptedPlatform",
    "WrittenMessage",
    "empty",
    "empty_async",
    "empty_at",
    "is_asynchronous",
]


if not TYPE_CHECKING:  # as in relay itself
    __getattr__ = _loading(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
