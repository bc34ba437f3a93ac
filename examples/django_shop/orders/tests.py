"""What an application tests of its outbox: that the message is there with the order, and that it arrives."""

import os
from unittest import skipUnless

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import TestCase, TransactionTestCase

import relay
from orders.models import Order
from orders.views import TOPIC, move_to
from relay.integrations.django import add
from relay.integrations.django.models import AuditMessage

TID = 4213000001


class InOneTransaction(TestCase):
    """Each test is rolled back, its messages with it."""

    def setUp(self) -> None:
        Order.objects.create(tid=TID, seller="向阳aa")

    def test_packing_tells_the_platform_once(self) -> None:
        self.assertIsNotNone(self.client.post(f"/orders/{TID}/pack").json()["message"])
        self.assertIsNone(self.client.post(f"/orders/{TID}/pack").json()["message"])
        message = AuditMessage.objects.get(ordering_key=str(TID))
        self.assertEqual((message.topic, message.status), (TOPIC, "pending"))
        self.assertEqual(Order.objects.get(tid=TID).status, "X_PACKAGED")

    def test_an_order_that_is_not_there_tells_nothing(self) -> None:
        self.assertEqual(self.client.post("/orders/1/pack").status_code, 404)
        self.assertFalse(AuditMessage.objects.filter(ordering_key="1").exists())

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

    @skipUnless("RELAY_TMC_URL" in os.environ, "needs the lines that relay sandbox prints")
    def test_a_worker_delivers_it(self) -> None:
        move_to("X_PACKAGED", TID)
        call_command("relay", "run", "--drain")
        message = AuditMessage.objects.get(ordering_key=str(TID))
        self.assertEqual((message.status, message.attempts), ("done", 1))
        self.assertTrue(message.request_id)
