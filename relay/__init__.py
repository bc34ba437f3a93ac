"""Transactional outbox relay for the Taobao Open Platform.

An application needs one line inside its own transaction::

    relay.add(session, "taobao_jds_TradeTrace", {"tid": 1234554321, "status": "X_PACKAGED"})

Names are loaded when first used, so that ``import relay`` costs an application nothing it does not use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.assembly.embedding import drain, open_worker, running
    from relay.errors import MessageError, NotInTransaction, RelayError
    from relay.outbox import NewMessage, OutboxMessage, add, add_async, add_many, add_many_async, insert
    from relay.outbox.columns import Columns
    from relay.outbox.topic import Topic
    from relay.revisions import downgrade, include_name
    from relay.revisions.migrating import migrate

__version__ = "0.1.0"

_HOMES = {
    "Columns": "relay.outbox.columns",
    "MessageError": "relay.errors",
    "NotInTransaction": "relay.errors",
    "RelayError": "relay.errors",
    "Topic": "relay.outbox.topic",
    "NewMessage": "relay.outbox",
    "OutboxMessage": "relay.outbox",
    "add": "relay.outbox",
    "add_async": "relay.outbox",
    "add_many": "relay.outbox",
    "add_many_async": "relay.outbox",
    "downgrade": "relay.revisions",
    "drain": "relay.assembly.embedding",
    "include_name": "relay.revisions",
    "insert": "relay.outbox",
    "migrate": "relay.revisions.migrating",
    "open_worker": "relay.assembly.embedding",
    "running": "relay.assembly.embedding",
}

__all__ = [
    "Columns",
    "MessageError",
    "NewMessage",
    "NotInTransaction",
    "OutboxMessage",
    "RelayError",
    "Topic",
    "__version__",
    "add",
    "add_async",
    "add_many",
    "add_many_async",
    "downgrade",
    "drain",
    "include_name",
    "insert",
    "migrate",
    "open_worker",
    "running",
]


def _loading(package: str, homes: Mapping[str, str], **extras: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package of ours that hands out these names, each loaded from its home when first used.

    It stands here because whoever imports a part of the package has this module already. Of what a name needs beyond an
    insert, the error names the extra: ``worker``, unless ``extras`` has another for that name.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from relay.errors import needs

        with needs(extras.get(name, "worker"), f"{package}.{name}"):
            return getattr(import_module(homes[name]), name)

    return load


if not TYPE_CHECKING:  # a type checker that sees it takes any name for one of ours
    __getattr__ = _loading(__name__, _HOMES, Topic="topic")


def __dir__() -> list[str]:
    return sorted(__all__)
