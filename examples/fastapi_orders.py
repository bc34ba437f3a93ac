"""A FastAPI application that takes orders and delivers their messages itself: a worker starts and stops with it.

    psql -c 'create table orders (tid bigint primary key, seller text not null)'
    DATABASE_URL=postgresql+psycopg://... RELAY_DATABASE_URL=... uvicorn examples.fastapi_orders:app

docs/frameworks.md says more.
"""

import logging
import os

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

import relay
from relay.integrations.fastapi import ready, worker_lifespan

logging.basicConfig(level=logging.INFO)  # the worker's log is the application's
engine = create_async_engine(os.environ["DATABASE_URL"])
app = FastAPI(lifespan=worker_lifespan(metrics_port=0))
app.add_api_route("/readyz", ready)


class Order(BaseModel):
    tid: int
    seller: str


@app.post("/orders", status_code=201)
async def place(order: Order) -> Order:
    """Both rows or none, and committed before the answer says so."""
    content = {"tid": order.tid, "seller_nick": order.seller, "status": "X_PACKAGED"}
    try:
        async with engine.begin() as connection:
            await relay.add_async(connection, "taobao_jds_TradeTrace", content, ordering_key=str(order.tid))
            await connection.execute(
                text("insert into orders (tid, seller) values (:tid, :seller)"), order.model_dump()
            )
    except IntegrityError:
        raise HTTPException(409, "this order is there already") from None
    return order
