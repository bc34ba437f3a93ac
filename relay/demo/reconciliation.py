"""The sums that must hold between the shop, the tables and the platform. Pure: books in, checks out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from relay.demo.books import Books
from relay.demo.shop import STEPS, Shop


@dataclass(frozen=True, slots=True)
class BookCheck:
    """``sums`` says in numbers what must hold, ``holds`` whether it does."""

    what: str
    sums: str
    holds: bool


def reconcile(shop: Shop, books: Books, begun: int) -> list[BookCheck]:
    """Every sum, also those that hold; ``begun`` is how many business transactions there were."""
    return [*_tables(shop, books, begun), *_platform(shop, books)]


def unexplained(books: Books) -> Counter[int]:
    """Message id -> deliveries too many for which no call is known that may have made them."""
    return books.twice() - books.unknown()


def _tables(shop: Shop, books: Books, begun: int) -> list[BookCheck]:
    sold, back = len(shop.sold), len(shop.rolled_back)
    inserted = len(books.messages)
    pending, done, failed = (books.status(status) for status in ("pending", "done", "failed"))
    return [
        BookCheck("transactions", f"{sold} committed + {back} rolled back = {begun}", sold + back == begun),
        BookCheck(
            "messages inserted",
            f"{len(STEPS)} x {sold} committed = {inserted}",
            len(STEPS) * sold == inserted,
        ),
        BookCheck("each has its end", f"{done} done + {failed} failed = {inserted}", done + failed == inserted),
        BookCheck(
            "nothing is left over", f"{pending} pending, {books.open_calls} calls open", pending + books.open_calls == 0
        ),
        BookCheck(
            "failed is what was wrong",
            f"{failed} failed = {shop.wrong_messages} with a status nobody knows",
            failed == shop.wrong_messages,
        ),
    ]


def _platform(shop: Shop, books: Books) -> list[BookCheck]:
    held = books.held_ids()
    done = {message.id for message in books.messages if message.status == "done"}
    distinct = {id_ for id_ in held if id_ is not None}
    twice, open_question = sum(books.twice().values()), sum(unexplained(books).values())
    disordered = sum(ids != sorted(ids) for _, ids in books.arrivals())
    ghosts = sum(any(str(tid) in content for tid in shop.rolled_back) for content in books.held)
    strangers = held.count(None)
    return [
        BookCheck("done is what is there", f"{len(done)} done = {len(distinct)} at the platform", done == distinct),
        BookCheck(
            "duplicates are explained",
            f"{len(held)} accepted - {len(distinct)} = {twice} sent twice, {twice - open_question} explained",
            open_question == 0 and len(held) - len(distinct) == twice,
        ),
        BookCheck("order is kept", f"{disordered} orders whose messages came out of order", disordered == 0),
        BookCheck("rolled back is gone", f"{ghosts} messages of rolled-back orders at the platform", ghosts == 0),
        BookCheck("nothing was made up", f"{strangers} messages there that the tables do not know", strangers == 0),
    ]
