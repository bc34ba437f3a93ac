"""What an application's own tests need of the relay: an emptied database, what was written, a scripted platform.

The fixtures are in ``plugin`` (docs/testing.md); everything they give is here without pytest. Nothing is
loaded before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.testing.emptying import NotATestDatabase, empty, empty_async

_HOMES = {
    "NotATestDatabase": "relay.testing.emptying",
    "empty": "relay.testing.emptying",
    "empty_async": "relay.testing.emptying",
}

__all__ = ["NotATestDatabase", "empty", "empty_async"]


if not TYPE_CHECKING:  # a type checker that sees it takes any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'relay.testing' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
