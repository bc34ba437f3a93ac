"""A Celery task that packs an order and tells the platform, once, however often the task is tried.

    psql -c 'create table orders (tid bigint primary key, seller text not null, packed boolean)'
    DATABASE_URL=postgresql+psycopg://... celery --app examples.celery_orders worker

`relay run` delivers. docs/frameworks.md says more.
"""

import os

from celery import Celery
from celery.signals import worker_process_init
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

import relay

engine = create_engine(os.environ["DATABASE_URL"])
app = Celery("orders", broker=os.environ.get("BROKER_URL", "memory://"))


@worker_process_init.connect
def forget_connections(**_: object) -> None:
    """Celery forks: a connection of the parent must not be used by two."""
    engine.dispose(close=False)


@app.task(acks_late=True, autoretry_for=(OSError, OperationalError), retry_backoff=True, max_retries=5)
def pack(tid: int) -> None:
    """Try again after a commit, and the row is packed again; its message is not written again."""
    with engine.begin() as connection:
        connection.execute(text("update orders set packed = true where tid = :tid"), {"tid": tid})
        relay.add(
            connection,
            "taobao_jds_TradeTrace",
            {"tid": tid, "status": "X_PACKAGED"},
            ordering_key=str(tid),
            dedupe_key=f"packaged {tid}",  # of what happened: the same in every try, and whoever tries
        )
    print_label(tid)


def print_label(tid: int) -> None:
    """Whatever follows the commit and may fail."""
    print(f"label of {tid}")
