"""What an application tests of its outbox: that the message is there with the order, and that it arrives."""

from django.contrib.auth.models import User
from django.db import connection
from django.test import TestCase, TransactionTestCase

import relay
from orders.models import Order
from orders.views import TOPIC, move_to
from relay.integrations.django import add, database_url
from relay.integrations.django.models import AuditMessage
from relay.testing import Drain, Outbox, ScriptedPlatform

TID = 4213000001


class InOneTransaction(TestCase):
    """Each test is rolled back, its messages with it."""

    def setUp(self) -> None:
        Order.objects.create(tid=TID, seller="向阳aa")
        self.outbox = Outbox(connection)

    def test_packing_tells_the_platform_once(self) -> None:
        for _ in range(2):
            self.assertEqual(self.client.post(f"/orders/{TID}/pack").status_code, 201)
        self.outbox.assert_written(TOPIC, times=1, ordering_key=str(TID), content={"status": "X_PACKAGED"})
        self.assertEqual(Order.objects.get(tid=TID).status, "X_PACKAGED")

    def test_an_order_that_is_not_there_tells_nothing(self) -> None:
        self.assertEqual(self.client.post("/orders/1/pack").status_code, 404)
        self.outbox.assert_nothing_written()

    def test_outside_of_a_block_it_is_refused_in_tests_as_well(self) -> None:
        with self.assertRaises(relay.NotInTransaction):
            add(TOPIC, {"tid": TID})

    def test_the_admin_shows_the_message(self) -> None:
        move_to("X_PACKAGED", TID)
        self.client.force_login(User.objects.create_superuser("admin"))
        page = self.client.get("/admin/relay/auditmessage/", {"ordering_key": TID})
        self.assertContains(page, TOPIC)
        self.assertContains(page, "Send again (retry)")


class Committed(TransactionTestCase):
    """What another process is to see is committed; the flush after each test empties the outbox, too."""

    def setUp(self) -> None:
        self.assertFalse(AuditMessage.objects.exists())
        Order.objects.create(tid=TID, seller="向阳aa")

    async def test_an_asynchronous_view_writes_both(self) -> None:
        self.assertEqual((await self.async_client.post(f"/orders/{TID}/weigh")).status_code, 201)
        self.assertEqual((await Order.objects.aget(tid=TID)).status, "X_WEIGHED")
        self.assertEqual(await AuditMessage.objects.filter(status="pending").acount(), 1)

    def test_a_worker_delivers_it(self) -> None:
        move_to("X_PACKAGED", TID)
        platform = ScriptedPlatform()
        self.assertEqual(Drain(database_url(), platform)().done, 1)
        platform.assert_arrived(TOPIC, times=1, content={"tid": TID, "status": "X_PACKAGED"})
        self.assertTrue(AuditMessage.objects.get(ordering_key=str(TID)).request_id)

    def test_what_the_platform_refuses_is_there_to_be_seen(self) -> None:
        move_to("X_PACKAGED", TID)
        platform = ScriptedPlatform()
        platform.answer(0, "isv.trade-not-exist", "no such trade")
        self.assertEqual(Drain(database_url(), platform)().failed, 1)
        self.assertEqual(AuditMessage.objects.get(status="failed").error_code, "isv.trade-not-exist")
