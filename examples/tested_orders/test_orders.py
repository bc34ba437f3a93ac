"""What was written, in a transaction that is rolled back; what becomes of it, in one that is committed."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from examples.tested_orders.orders import TOPIC, Order, place
from relay.testing import Drain, Outbox, ScriptedPlatform


def test_an_order_tells_the_platform(session: Session, relay_outbox: Outbox) -> None:
    place(session, 4213000001, "向阳aa")
    session.commit()
    [message] = relay_outbox.assert_written(TOPIC, ordering_key="4213000001", content={"status": "X_PACKAGED"})
    assert message.content["seller_nick"] == "向阳aa"


def test_an_order_that_fails_tells_nobody(session: Session, relay_outbox: Outbox) -> None:
    with pytest.raises(ValueError, match="seller"):
        place(session, 4213000001, "")
    relay_outbox.assert_nothing_written()


@pytest.fixture
def placed(engine: Engine, relay_clean: None) -> Iterator[None]:
    """Three orders, committed: a worker is to find them."""
    with Session(engine) as session, session.begin():
        for tid in (1, 2, 3):
            place(session, tid, "向阳aa")
    yield
    with Session(engine) as session, session.begin():
        session.query(Order).delete()


@pytest.mark.usefixtures("placed")
def test_orders_arrive_in_one_call(relay_drain: Drain, relay_platform: ScriptedPlatform) -> None:
    assert relay_drain().done == 3
    relay_platform.assert_arrived(TOPIC, times=1, content={"tid": 2})
    assert len(relay_platform.calls) == 1


@pytest.mark.usefixtures("placed")
def test_an_order_that_the_platform_refuses_stops_no_other(
    relay_drain: Drain, relay_platform: ScriptedPlatform
) -> None:
    relay_platform.answer(1, "isv.trade-not-exist", "no such trade")
    report = relay_drain()
    assert (report.done, report.failed) == (2, 1)


@pytest.mark.usefixtures("placed")
def test_an_answer_that_is_lost_makes_duplicates(relay_drain: Drain, relay_platform: ScriptedPlatform) -> None:
    relay_platform.fault("cut-after@#1")
    assert relay_drain().done == 3
    relay_platform.assert_arrived(TOPIC, times=2, content={"tid": 1})
