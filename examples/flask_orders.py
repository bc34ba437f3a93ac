"""A Flask application that takes orders; their messages are delivered by `relay run`, a process of its own.

    psql -c 'create table orders (tid bigint primary key, seller text not null)'
    DATABASE_URL=postgresql+psycopg://... flask --app examples.flask_orders run

docs/frameworks.md says more.
"""

import os

from flask import Flask, request
from sqlalchemy import BigInteger, create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import relay

engine = create_engine(os.environ["DATABASE_URL"])
app = Flask(__name__)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    tid: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seller: Mapped[str]


@app.post("/orders")
def place() -> tuple[dict[str, object], int]:
    """Both rows or none, and committed before the answer says so."""
    tid, seller = int(request.json["tid"]), str(request.json["seller"])
    content = {"tid": tid, "seller_nick": seller, "status": "X_PACKAGED"}
    with Session(engine) as session, session.begin():
        relay.add(session, "taobao_jds_TradeTrace", content, ordering_key=str(tid))
        session.add(Order(tid=tid, seller=seller))
    return {"tid": tid}, 201


@app.errorhandler(IntegrityError)
def already_there(error: IntegrityError) -> tuple[dict[str, str], int]:
    return {"error": "this order is there already"}, 409
