"""The dashboard: pages that say what is wrong, and show what became of each message; where it is let, it acts.

    app.mount("/relay", relay.dashboard.create_app(user=lambda request: request.user.username))

``relay dashboard`` serves the same. It reads through the views, and what people may do is a right of its login too: see
``docs/dashboard.md``. ``relay/dashboard/app.py`` is where to begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.dashboard.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    """Whoever only names the package need not have the extra installed."""
    if name == "create_app":
        from relay.errors import needs

        with needs("dashboard", "relay.dashboard"):
            from relay.dashboard.app import create_app
        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
