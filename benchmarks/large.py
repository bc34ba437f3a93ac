"""A large database: ten million finished messages of five months, two thirds of them archived, and what else there is.

It takes minutes to make. With ``--ground FOLDER`` it stays in that folder, and the next run finds it there; remove the
folder where the tables have changed since.
"""

from __future__ import annotations

from fractions import Fraction

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from benchmarks.cockpit import let_in
from benchmarks.crowd import add_pending, gather
from benchmarks.effort import Effort
from benchmarks.ground import Ground, connected
from benchmarks.history import Shape, remember

_SHAPE = Shape(archived=Fraction(2, 3), days=150, per_call=50, failed_one_in=160, codes=12)


def large(ground: Ground, effort: Effort) -> str:
    """The URL of the database; the pending messages are a fiftieth of the finished ones."""

    def make(url: str) -> None:
        with connected(url) as connection:
            remember(connection, effort.large, _SHAPE, orders=False)
        with connected(url) as connection:
            gather(connection, effort.large // 50)
        _settle(url)

    url = ground.url(ground.made(f"large {effort.large}", make))
    let_in(url)
    return url


def crowded(ground: Ground, effort: Effort) -> str:
    """The same with five times as many pending messages."""
    large(ground, effort)

    def make(url: str) -> None:
        with connected(url) as connection:
            add_pending(connection, effort.large // 50 + 1, effort.large // 10)
        _settle(url)

    template = f"large {effort.large}"
    url = ground.url(ground.made(f"crowded {effort.large}", make, template=template))
    let_in(url)
    return url


def _settle(url: str) -> None:
    """Statistics and clean pages, as autovacuum leaves them."""
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("vacuum (analyze)")
        connection.exec_driver_sql("checkpoint")
