"""The ledger: who acted, why, and on what. A row is committed together with the act, or neither is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from relay.operators import statements as sql
from relay.sql import run


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants it and why, and by which words the messages were chosen."""

    actor: str
    reason: str
    selection: Mapping[str, Any]


def parameters(order: Order) -> dict[str, str]:
    """Of a statement that writes the row."""
    selection = json.dumps(order.selection, ensure_ascii=False)
    return {"actor": order.actor, "reason": order.reason, "selection": selection}


def record(connection: Connection, action: str, order: Order, message_ids: Sequence[int] | None, count: int) -> int:
    """Write a row, for an act whose function of the database does not; its id."""
    told = {**parameters(order), "action": action, "message_ids": message_ids, "count": count}
    recorded: int = run(connection, sql.RECORD, **told).scalar_one()
    return recorded
