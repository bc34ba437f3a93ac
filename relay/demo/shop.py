"""The application of the demo: a shop whose every order tells the platform three things, in the order's transaction.

This is all an application has to do: ``relay.add`` beside its own rows. Each tenth payment is declined after the
messages were inserted; the rollback takes order and messages together.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from sqlalchemy import BigInteger, Engine, Identity, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import relay

TOPIC = "taobao_jds_TradeTrace"
STEPS = (("X_TO_SYSTEM", "小张"), ("X_PACKAGED", "小李"), ("X_OUT_WAREHOUSE", "小王"))
NO_SUCH_STATUS = "X_NO_SUCH_STATUS"  # what the platform will refuse for good

_SELLERS = ("向阳aa", "春风小店", "seller_01")
_FIRST_TID = 4_210_000_000_000_000
_BEIJING = timezone(timedelta(hours=8))  # in which the platform reads its times


class _Tables(DeclarativeBase):
    pass


class Trade(_Tables):
    """An order of the shop: the application's own row, written in one transaction with its message."""

    __tablename__ = "orders"
    __table_args__ = {"schema": "shop"}  # noqa: RUF012  SQLAlchemy's own form

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tid: Mapped[int] = mapped_column(BigInteger, unique=True)  # the platform's number of the trade
    seller: Mapped[str]


class DeclinedError(Exception):
    """Something goes wrong at the very end of a transaction."""


class Shop:
    """``sold`` and ``rolled_back`` are the trades by their tid, as the shop itself remembers them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.sold: list[int] = []
        self.rolled_back: list[int] = []
        self.wrong_messages = 0  # committed ones that the platform will refuse

    def open(self) -> None:
        """Make the schema ``shop`` and its table."""
        with self._engine.begin() as connection:
            connection.execute(text("create schema shop"))
            _Tables.metadata.create_all(connection)

    def sell(self, number: int) -> None:
        """The transaction with this number, counted from 1."""
        tid = _FIRST_TID + number
        wrong = number % 33 == 0
        try:
            with Session(self._engine) as session, session.begin():
                order = Trade(tid=tid, seller=_SELLERS[number % len(_SELLERS)])
                session.add(order)
                session.flush()
                for step, (status, operator) in enumerate(STEPS):
                    if wrong and step == 1:
                        status = NO_SUCH_STATUS
                    content = _content(order, status, operator)
                    relay.add(session, TOPIC, content, ordering_key=str(order.id), producer="demo shop")
                if number % 10 == 0:
                    raise DeclinedError
        except DeclinedError:
            self.rolled_back.append(tid)
        else:
            self.sold.append(tid)
            self.wrong_messages += wrong


def _content(order: Trade, status: str, operator: str) -> dict[str, object]:
    return {
        "tid": order.tid,
        "seller_nick": order.seller,
        "status": status,
        "action_time": datetime.now(_BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
        "operator": operator,
    }
