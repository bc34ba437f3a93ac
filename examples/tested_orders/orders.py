"""An application that takes orders, small enough to test: a row and a message, in the caller's transaction."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import relay

TOPIC = "taobao_jds_TradeTrace"


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    tid: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seller: Mapped[str]


def place(session: Session, tid: int, seller: str) -> None:
    """Nothing is committed here; that is for who called."""
    session.add(Order(tid=tid, seller=seller))
    if not seller:
        raise ValueError("an order has a seller")
    content = {"tid": tid, "seller_nick": seller, "status": "X_PACKAGED"}
    relay.add(session, TOPIC, content, ordering_key=str(tid))
