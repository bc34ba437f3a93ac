"""Each view tells the platform what it did to an order, in the transaction in which it did it."""

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from orders.models import Order
from relay.integrations.django import add

TOPIC = "taobao_jds_TradeTrace"


def move_to(status: str, tid: int) -> int | None:
    """The id of the message; None where the same was told before."""
    with transaction.atomic():
        order = get_object_or_404(Order.objects.select_for_update(), tid=tid)
        order.status = status
        order.save()
        return add(
            TOPIC,
            {"tid": order.tid, "seller_nick": order.seller, "status": status},
            ordering_key=str(order.tid),
            dedupe_key=f"{status} {order.tid}",
        )


@csrf_exempt
@require_POST
def pack(request: HttpRequest, tid: int) -> JsonResponse:
    return JsonResponse({"message": move_to("X_PACKAGED", tid)}, status=201)


@csrf_exempt
@require_POST
async def weigh(request: HttpRequest, tid: int) -> JsonResponse:
    """An asynchronous view hands the whole block to a thread: a transaction of Django's belongs to one."""
    return JsonResponse({"message": await sync_to_async(move_to)("X_WEIGHED", tid)}, status=201)
