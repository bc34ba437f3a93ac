"""What an application's own tests need of the relay: an emptied database, what was written, a scripted platform.

The fixtures are in ``plugin`` (docs/testing.md); everything they give is here without pytest. Nothing is
loaded before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.testing.connections import is_asynchronous
    from relay.testing.draining import Drain
    from relay.testing.emptying import NotATestDatabase, empty, empty_async, empty_at
    from relay.testing.platform import ArrivedMessage, ScriptedPlatform
    from relay.testing.written import AsyncOutbox, Outbox, WrittenMessage

_HOMES = {
    "ArrivedMessage": "platform",
    "AsyncOutbox": "written",
    "Drain": "draining",
    "NotATestDatabase": "emptying",
    "Outbox": "written",
    "ScriptedPlatform": "platform",
    "WrittenMessage": "written",
    "empty": "emptying",
    "empty_async": "emptying",
    "empty_at": "emptying",
    "is_asynchronous": "connections",
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


if not TYPE_CHECKING:  # a type checker that sees it takes any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'relay.testing' has no attribute {name!r}")
        from relay.errors import needs

        with needs("worker", f"relay.testing.{name}"):
            return getattr(import_module(f"relay.testing.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
