"""What the ledger is told when a worker starts: its version and the settings in force, never a secret.

A worker goes on without that row: messages are worth more. It warns then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import DBAPIError

import relay
from relay.assembly.producers import has_ours, producer_options
from relay.errors import RelayError
from relay.producers.options import shown as shown_options
from relay.settings import SECRETS, Settings
from relay.store import Store, told


def record_start(store: Store, settings: Settings, warn: Callable[[str], object]) -> None:
    """Leave a row under the worker's name; a warning where that is not possible."""
    try:
        store.record_start(relay.__version__, in_force(settings))
    except (RelayError, DBAPIError) as error:
        warn(f"the ledger does not have this start ({told(error)}); if a right is missing, run relay roles --sql again")


def in_force(settings: Settings) -> dict[str, Any]:
    """Every option that is set; of those that may contain a secret only which are given."""
    shown = settings.model_dump(mode="json", exclude=set(SECRETS))
    others = {name: options for name, options in producer_options(settings).items() if not has_ours(settings, name)}
    producers = {name: said for name, options in others.items() if (said := shown_options(options))}
    return {
        **{name: value for name, value in shown.items() if value is not None},
        "secrets_given": [name for name in SECRETS if getattr(settings, name) is not None],
        **({"producers": producers} if producers else {}),
    }
