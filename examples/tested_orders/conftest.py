"""The fixtures that a suite has anyway, and the two by which the relay's kit finds its way.

    DATABASE_URL=postgresql+psycopg://owner@localhost/shop_test pytest examples/tested_orders

docs/testing.md says more.
"""

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

import relay
from examples.tested_orders.orders import Base


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = create_engine(os.environ["DATABASE_URL"])
    relay.migrate(engine)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session whose commits are undone at the end of the test."""
    with engine.connect() as connection, connection.begin() as transaction:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        transaction.rollback()


@pytest.fixture
def relay_connection(session: Session) -> Session:
    return session


@pytest.fixture(scope="session")
def relay_database_url() -> str:
    return os.environ["DATABASE_URL"]
